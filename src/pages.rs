//! Memory in the kernel's large pages, where it has some: it comes at a fraction of the cost of small ones, and the processor
//! finds its way through it sooner.

use std::alloc::{Layout, handle_alloc_error};
use std::io;

use memmap2::MmapMut;

/// How large they are.
const SIZE: usize = 2 << 20;

/// So many bytes at least, all of them zero. Fails where the system has no more memory.
pub(crate) fn large_pages(len: usize) -> io::Result<MmapMut> {
    let pages = MmapMut::map_anon(len.checked_next_multiple_of(SIZE).unwrap_or(len))?;
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Ok(pages)
}

/// So many bytes, in large pages if they fill some. The program ends where there is no more memory, as with a vector.
pub(crate) fn zeroed(len: usize) -> MmapMut {
    let pages = if len < SIZE { MmapMut::map_anon(len) } else { large_pages(len) };
    pages.unwrap_or_else(|_| handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>())))
}
