//! `correlate` against `decode` over the same captures.

use std::path::Path;
use std::process::{Command, Stdio};

use super::captures::Captures;
use super::goal::Goal;
use super::process::{Cost, Rounds, peak, run, succeeded};

const ROUNDS: usize = 3;
const RATIO: (f64, &str) = (3.0, "");
/// What packets of a window of two seconds need, at 50,000 packets a second at ten points.
const MEMORY: (f64, &str) = (200.0, " MB");

/// How many packets each point has.
pub const PACKETS: u32 = 200_000;

/// Correlating ten points, and the memory of that.
pub fn goals(flowtrace: &Path, packets: u32) -> Vec<Goal> {
    let what = format!("correlate: 10 points of {packets} packets, against decode");
    let captures = match Captures::write(packets) {
        Ok(captures) => captures,
        Err(err) => return vec![Goal::untried(what, RATIO, format!("the captures can't be written: {err}"))],
    };
    vec![ratio(what, flowtrace, &captures), memory(flowtrace, &captures)]
}

fn ratio(what: String, flowtrace: &Path, captures: &Captures) -> Goal {
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let both = (cost(flowtrace, "correlate", captures), cost(flowtrace, "decode", captures));
        match both {
            (Ok(one), Ok(other)) => {
                ours.push(one);
                theirs.push(other);
            }
            (Err(why), _) | (_, Err(why)) => return Goal::untried(what, RATIO, why),
        }
    }
    let numbers = format!(
        "{:.2} s against {:.2} s of CPU time; by medians {:.3}",
        ours.min(),
        theirs.min(),
        ours.median() / theirs.median()
    );
    Goal::at_most(what, RATIO, ours.min() / theirs.min(), numbers)
}

fn command(flowtrace: &Path, word: &str, captures: &Captures) -> Command {
    let mut command = Command::new(flowtrace);
    command.arg(word).args(&captures.files).stdout(Stdio::null());
    command
}

fn cost(flowtrace: &Path, word: &str, captures: &Captures) -> Result<Cost, String> {
    let (cost, output) = run(&mut command(flowtrace, word, captures))?;
    succeeded(word, &output)?;
    Ok(cost)
}

fn memory(flowtrace: &Path, captures: &Captures) -> Goal {
    let what = "correlate: the most memory it has at any time";
    match peak(&command(flowtrace, "correlate", captures)) {
        Ok(kib) => Goal::at_most(what, MEMORY, kib / 1e3, format!("{kib:.0} KiB")),
        Err(why) => Goal::untried(what, MEMORY, why),
    }
}
