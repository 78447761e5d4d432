//! The options of `-m conntrack` and `-m state` (`extensions/libxt_conntrack.c`).

use crate::net::Family;
use crate::snapshot::{ConntrackMatch, Test};

use super::matching::Taken;
use super::name;
use super::value::{addr_mask, ct_states, ct_status, direction, port_range, range};
use super::words::{Args, Malformed};

pub(super) fn option(found: &mut ConntrackMatch, option: &str, args: &mut Args<'_, '_>, family: Family) -> Taken {
    match option {
        "--ctstate" | "--state" => found.states = Some(test(args, ct_states)?),
        "--ctstatus" => found.status = Some(test(args, ct_status)?),
        "--ctproto" => found.protocol = Some(test(args, name::protocol)?),
        "--ctdir" => found.direction = Some(test(args, direction)?),
        "--ctexpire" => found.expires = Some(test(args, |text| range(text, ':', name::number, u32::MAX))?),
        "--ctorigsrc" | "--ctorigdst" | "--ctreplsrc" | "--ctrepldst" => {
            let text = args.value()?;
            let addr = addr_mask(family, &text, args.invert).ok_or(Malformed)?;
            match option {
                "--ctorigsrc" => found.orig_src = Some(addr),
                "--ctorigdst" => found.orig_dst = Some(addr),
                "--ctreplsrc" => found.repl_src = Some(addr),
                _ => found.repl_dst = Some(addr),
            }
        }
        "--ctorigsrcport" => found.orig_src_port = Some(test(args, port_range)?),
        "--ctorigdstport" => found.orig_dst_port = Some(test(args, port_range)?),
        "--ctreplsrcport" => found.repl_src_port = Some(test(args, port_range)?),
        "--ctrepldstport" => found.repl_dst_port = Some(test(args, port_range)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn test<T>(args: &mut Args<'_, '_>, read: impl FnOnce(&str) -> Option<T>) -> Result<Test<T>, Malformed> {
    let value = args.parse(read)?;
    Ok(Test { value, invert: args.invert })
}
