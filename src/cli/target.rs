//! Where a snapshot is written.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use crate::collect::Target;
use crate::error::Error;

/// What a snapshot is not written as.
const OTHER_ENDINGS: [&str; 7] = [".tar", ".zip", ".gz", ".zst", ".xz", ".bz2", ".txz"];

/// What a path stands for: a folder, an archive, or the standard output. `option` is how it was named.
pub(super) fn target<'p>(path: &'p Path, option: &str) -> Result<Target<'p>, Error> {
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            let what = "-w -: a terminal can't show an archive; give a folder, a .tar.gz, or a pipe";
            return Err(Error::Usage(what.to_owned()));
        }
        return Ok(Target::Stream(Box::new(io::stdout())));
    }
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_ascii_lowercase());
    let ends = |ending: &&str| name.ends_with(*ending);
    if [".tar.gz", ".tgz"].iter().any(ends) {
        return Ok(Target::File(path));
    }
    match OTHER_ENDINGS.into_iter().find(|ending| ends(ending)) {
        None => Ok(Target::Folder(path)),
        Some(ending) => {
            let what = format!("a snapshot is written as a folder or as .tar.gz, not as {ending}");
            Err(Error::Usage(format!("{option} {}: {what}", path.display())))
        }
    }
}
