// An echo of length-prefixed messages, with a buffered reader and writer for each connection: what
// is complete is answered before anything is flushed. With an argument, each takes a millisecond
// first: `sleep`, or `work`, which uses the processor. With `busy MICROSECONDS`, it takes that long.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// The largest message, in bytes.
const maxFrameLen = 16 << 20

func main() {
	spend := func() {}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sleep":
			spend = func() { time.Sleep(time.Millisecond) }
		case "work":
			spend = work
		case "busy":
			spend = busy(os.Args[2:])
		default:
			fmt.Fprintln(os.Stderr, "there is no", os.Args[1])
			os.Exit(1)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(connection, spend)
	}
}

// Uses a millisecond of the processor, however long that takes while others want it.
func work() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for start := threadTime(); threadTime()-start < time.Millisecond; {
	}
}

// Returns a function that spins until the time has passed on the monotonic clock, as `busy.rs` does.
func busy(arguments []string) func() {
	if len(arguments) != 1 {
		fmt.Fprintln(os.Stderr, "busy needs the microseconds")
		os.Exit(1)
	}
	microseconds, err := strconv.Atoi(arguments[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cost := time.Duration(microseconds) * time.Microsecond
	return func() {
		for start := time.Now(); time.Since(start) < cost; {
		}
	}
}

func threadTime() time.Duration {
	const threadCPUTime = 3
	var now syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&now)), 0)
	return time.Duration(now.Nano())
}

func serve(connection net.Conn, spend func()) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64*1024)
	writer := bufio.NewWriterSize(connection, 64*1024)
	var message []byte
	for {
		var header [4]byte
		if _, err := io.ReadFull(reader, header[:]); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint32(header[:]))
		if length > maxFrameLen {
			return
		}
		if cap(message) < length {
			message = make([]byte, length)
		}
		message = message[:length]
		if _, err := io.ReadFull(reader, message); err != nil {
			return
		}
		spend()
		writer.Write(header[:])
		writer.Write(message)
		if reader.Buffered() == 0 && writer.Flush() != nil {
			return
		}
	}
}
