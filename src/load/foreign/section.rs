//! Files that hold the output of several commands, each behind a line with the command.

/// Where a command's path may lead.
const FOLDERS: [&str; 6] = ["", "/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/", "/usr/local/sbin/"];

/// What a command has printed. All other lines are emptied; nothing where the command is not there.
pub(super) fn of(text: &str, command: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    // Retina lists all commands first.
    let start = lines.iter().position(|line| *line == "Execute:").unwrap_or(0);
    let rest = lines.get(start..)?;
    let begin = start + rest.iter().position(|line| is_call(line, command))? + 1;
    let behind = lines.get(begin..)?;
    let end = begin + behind.iter().position(|line| is_any_call(line)).unwrap_or(behind.len());
    let mut table = "\n".repeat(begin);
    for line in lines.get(begin..end)? {
        table.push_str(line);
        table.push('\n');
    }
    Some(table)
}

fn is_call(line: &str, command: &str) -> bool {
    FOLDERS.iter().any(|folder| line.strip_prefix(folder).is_some_and(|call| call == command))
}

/// Whether a line is the call of a program: by its path, which no table has at a line's start.
fn is_any_call(line: &str) -> bool {
    let program = line.split(' ').next().unwrap_or_default();
    let folders = FOLDERS.iter().filter(|folder| !folder.is_empty());
    folders.into_iter().any(|folder| program.strip_prefix(folder).is_some_and(|name| !name.is_empty()))
        || line.starts_with("Failed to run ")
}
