// Plays the server of every case: a JSON line for each call when it ends.

package main

import (
	"flag"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func casesServer(arguments []string) int {
	flags := flag.NewFlagSet("cases-server", flag.ExitOnError)
	listen := listenFlag(flags)
	path := flags.String("cases", "", "the table of cases")
	var options serverOptions
	flags.Var(&options, "option", "NAME=VALUE, by gRPC's names of channel arguments; may be repeated")
	flags.Parse(arguments)

	cases, err := readCases(*path)
	if err != nil {
		return fail(err)
	}
	byName := map[string]*testCase{}
	for _, each := range cases {
		byName[each.Case] = each
	}
	server := grpc.NewServer(append(options.asGrpc(), grpc.ForceServerCodec(rawCodec{}))...)
	players := &players{server: server, begun: newCount()}
	service := grpc.ServiceDesc{ServiceName: "duplexmock.test.Cases", HandlerType: (*any)(nil)}
	for _, kind := range streamKinds {
		kind.Handler = func(_ any, stream grpc.ServerStream) error {
			received, _ := metadata.FromIncomingContext(stream.Context())
			return players.play(stream, received, byName[received.Get("case")[0]])
		}
		service.Streams = append(service.Streams, kind)
	}
	server.RegisterService(&service, nil)
	return serve(server, *listen, seconds(1))
}

// players play the calls of one server.
type players struct {
	server *grpc.Server
	begun  *count
}

// play does what the case's server does, while reading all the time, and prints what was seen.
func (p *players) play(stream grpc.ServerStream, received metadata.MD, played *testCase) error {
	p.begun.add()
	box := fill(stream, false, nil)
	var ending [][]any
	var result error
	for _, next := range played.Server {
		switch next.name {
		case "header":
			var written pairs
			next.argument(0, &written)
			must(stream.SendHeader(written.asMetadata()))
		case "send":
			var message payload
			times := 1
			next.argument(0, &message)
			next.argument(1, &times)
			for ; times > 0; times-- {
				raw := []byte(message)
				if stream.SendMsg(&raw) != nil {
					break // the call is over
				}
			}
		case "await":
			var count int
			next.argument(0, &count)
			box.waitCount(count)
		case "await-calls":
			var calls int
			next.argument(0, &calls)
			p.begun.wait(calls)
		case "stop":
			go p.server.GracefulStop()
		case "await-half-close":
			box.waitEnd()
			ending = append(ending, []any{"half-close"})
		case "await-cancel":
			<-stream.Context().Done()
			ending = append(ending, []any{"cancel"})
			result = stream.Context().Err()
		case "status":
			var name, details string
			var trailer pairs
			next.argument(0, &name)
			next.argument(1, &details)
			next.argument(2, &trailer)
			stream.SetTrailer(trailer.asMetadata())
			result = status.Error(codeOf(name), details)
		default:
			return fmt.Errorf("no such step of a server: %s", next.name)
		}
	}
	show(sawLine(played.Case, "server", received, box.read(), ending...))
	return result
}

// count counts up, and can be waited for.
type count struct {
	mutex   sync.Mutex
	changed *sync.Cond
	value   int
}

func newCount() *count {
	made := &count{}
	made.changed = sync.NewCond(&made.mutex)
	return made
}

func (c *count) add() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.value++
	c.changed.Broadcast()
}

func (c *count) wait(value int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for c.value < value {
		c.changed.Wait()
	}
}

func codeOf(name string) codes.Code {
	for code, each := range statusNames {
		if each == name {
			return code
		}
	}
	panic("no such status: " + name)
}
