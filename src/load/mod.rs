//! Readers: text to [`crate::snapshot::Snapshot`]. Only this file opens files.
