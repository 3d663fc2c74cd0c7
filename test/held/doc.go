// Package held has tests where one client, or the disk below it, is stopped in the middle of something,
// and others are to get on.
package held
