// An echo of length-prefixed messages, with a buffered reader and writer for each connection: what
// is complete is answered before anything is flushed.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
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
		go serve(connection)
	}
}

func serve(connection net.Conn) {
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
		if length > 8<<20 {
			return
		}
		if cap(message) < length {
			message = make([]byte, length)
		}
		message = message[:length]
		if _, err := io.ReadFull(reader, message); err != nil {
			return
		}
		writer.Write(header[:])
		writer.Write(message)
		if reader.Buffered() == 0 && writer.Flush() != nil {
			return
		}
	}
}
