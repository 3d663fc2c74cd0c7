// Package faults plays disks that fail, fill up and lose power to every store that is on this machine:
// package syscalls tells the rules. It needs Linux and strace, and says so where it cannot play.
package faults
