// Closes connections with Go: SetLinger, Close.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func closeWaiting(conn *net.TCPConn) {
	check(conn.SetLinger(5))
	check(conn.Close())
}

func readRequest(conn *net.TCPConn) {
	request := make([]byte, 64)
	_, err := io.ReadFull(conn, request)
	check(err)
}

func answer(conn *net.TCPConn) {
	readRequest(conn)
	_, err := conn.Write(bytes.Repeat([]byte("r"), 1024))
	check(err)
	closeWaiting(conn)
}

func main() {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	var accepted []*net.TCPConn
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var word string
		var n int
		fmt.Sscan(commands.Text(), &word, &n)
		var all sync.WaitGroup
		switch word {
		case "accept":
			for len(accepted) < n {
				conn, err := listener.AcceptTCP()
				check(err)
				accepted = append(accepted, conn)
			}
		case "respond":
			for _, conn := range accepted {
				readRequest(conn)
				_, err := conn.Write(bytes.Repeat([]byte("x"), n))
				check(err)
			}
		case "close":
			all.Add(len(accepted))
			for _, conn := range accepted {
				go func(conn *net.TCPConn) {
					defer all.Done()
					closeWaiting(conn)
				}(conn)
			}
			all.Wait()
			accepted = accepted[:0]
		case "serve":
			fmt.Println("ok")
			all.Add(n)
			for i := 0; i < n; i++ {
				conn, err := listener.AcceptTCP()
				check(err)
				go func() {
					defer all.Done()
					answer(conn)
				}()
			}
			all.Wait()
		}
		fmt.Println("ok")
	}
}
