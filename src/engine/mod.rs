//! The walk: a packet through the tables, as the kernel moves it.
