package vfs

import "golang.org/x/sys/windows"

var systemFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}
