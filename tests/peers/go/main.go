// The Go peer: chat and case programs in one binary, with the flags of the Python ones.
//
//	peer chat-server | chat-client | cases-server | cases-client [flags]
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var programs = map[string]func(arguments []string) int{
	"chat-server":  chatServer,
	"chat-client":  chatClient,
	"cases-server": casesServer,
	"cases-client": casesClient,
}

func main() {
	if len(os.Args) > 1 {
		if program, found := programs[os.Args[1]]; found {
			os.Exit(program(os.Args[2:]))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: peer chat-server | chat-client | cases-server | cases-client [flags]")
	os.Exit(2)
}

// listenFlag declares --listen: HOST:PORT or unix:/path.
func listenFlag(flags *flag.FlagSet) *string {
	return flags.String("listen", "127.0.0.1:0", "HOST:PORT or unix:/path")
}

// targetFlag declares --target, which may come from the environment.
func targetFlag(flags *flag.FlagSet) *string {
	return flags.String("target", os.Getenv("DUPLEXMOCK_TARGET"), "HOST:PORT or unix:/path; else DUPLEXMOCK_TARGET")
}

var printing sync.Mutex

// show prints one line, whole.
func show(line string) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(line)
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// serve serves until SIGTERM or SIGINT; open calls then have `grace` to finish.
func serve(server *grpc.Server, listen string, grace time.Duration) int {
	network, address := "tcp", listen
	if path, found := strings.CutPrefix(listen, "unix:"); found {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return fail(err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if network == "unix" {
		show("listening on " + listen)
	} else {
		show("listening on " + listener.Addr().String())
	}
	stopped := make(chan struct{})
	go func() {
		<-ended.Done()
		cut := time.AfterFunc(grace, server.Stop)
		server.GracefulStop()
		cut.Stop()
		close(stopped)
	}()
	if err := server.Serve(listener); err != nil {
		return fail(err)
	}
	<-stopped
	return 0
}

// dial is lazy: the connection is made by the first call.
func dial(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	if target == "" {
		return nil, fmt.Errorf("--target is missing, and DUPLEXMOCK_TARGET is not set")
	}
	return grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}
