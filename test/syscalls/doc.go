// Package syscalls plays what a disk does to the stores, from outside: at the system calls of the
// built server, which strace makes fail and writes down. So it is the same for every store, those of
// libraries that let nobody between them and the file system included.
//
// There are two games, and both have clients at work whose every step is confirmed by a RECEIPT
// before the next, so that a queue holds what so many of the steps made of it, or one more.
//
// Faults: the k-th call of a kind fails, with EIO, ENOSPC or EMFILE, for k = 1, 2, 3 … until none is
// left to fail. The server says what is wrong, in words, or goes on; what it confirmed is there at the
// next start. After a failed fsync it confirms nothing more, and what it confirmed is on the disk that
// such a machine is left with (below).
//
// Power cuts: one run is written down whole, with the bytes that were written, the names that were made
// and what was synced, beside the RECEIPTs (Parse, Replay). From that any number of disks is made that
// a power cut at any moment could have left (Disk.Cut), and each store is opened on them. What holds:
//
//   - What was written to a file, and its size, is there if it was synced afterwards: an fsync or
//     fdatasync, or a syncfs, that had been begun after the write had ended, and had ended before the cut.
//   - What a failed fsync of a file was to make durable may be lost for good: the next one succeeds without it.
//   - Of what was written since, each sector of 512 bytes has what some of the writes up to a moment of
//     its own made of it: all of them, or none, or some. Sectors are not torn, and a later write to
//     one is not there without the earlier. Sizes likewise.
//   - A name is there, or gone, or another, if its directory was synced afterwards. Otherwise it may be
//     as before. A directory that is lost takes what is in it with it.
//   - What is written through memory (mmap) is not seen. Of the stores only SQLite does that, in a file
//     "-shm" that it makes anew after a crash, and which is left out.
//
// That is what POSIX promises, and less than ext4, XFS and btrfs do: these keep the name of a new file
// that was synced itself.
//
// A test of the game itself takes the syncs out of what was written down: then it must find losses.
package syscalls
