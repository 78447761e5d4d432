//! Filters as they are typed.

use crate::capture::filter::{self, Filter, Settings};
use crate::error::Error;

use super::names::near;

/// The filter of an option. The error marks what is to blame, and names the words that may have been meant.
pub(super) fn parse(option: &str, text: &str, vxlan_ports: &[u16]) -> Result<Filter, Error> {
    let settings = Settings { vxlan_ports, ..Settings::default() };
    Filter::parse_with(text, &settings).map_err(|refusal| {
        let word = text.get(refusal.at.clone()).unwrap_or_default();
        let is_word = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
        // What joins questions is near to any short word.
        let is_meant = |known: &&str| is_word && *known != word && !matches!(*known, "and" | "or" | "not");
        let known = filter::words().filter(is_meant).map(str::to_owned);
        let hint = near::hint(word, known, |known| known);
        Error::Usage(format!("{option}: {refusal}{hint}\n{}", refusal.marked(text)))
    })
}
