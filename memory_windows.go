package stompserver

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

func physicalMemory() int64 {
	var status struct { // MEMORYSTATUSEX
		length, load                                                        uint32
		totalPhys, availPhys, totalPage, availPage, totalVirt, availVirt, e uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := proc.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0
	}
	return int64(status.totalPhys)
}
