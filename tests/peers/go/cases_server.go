// Plays the server of every case: a JSON line for each call when it ends.

package main

import (
	"flag"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func casesServer(arguments []string) int {
	flags := flag.NewFlagSet("cases-server", flag.ExitOnError)
	listen := listenFlag(flags)
	path := flags.String("cases", "", "the table of cases")
	flags.Parse(arguments)

	cases, err := readCases(*path)
	if err != nil {
		return fail(err)
	}
	byName := map[string]*testCase{}
	for _, each := range cases {
		byName[each.Case] = each
	}
	service := grpc.ServiceDesc{ServiceName: "duplexmock.test.Cases", HandlerType: (*any)(nil)}
	for _, kind := range streamKinds {
		kind.Handler = func(_ any, stream grpc.ServerStream) error {
			received, _ := metadata.FromIncomingContext(stream.Context())
			return playServer(stream, received, byName[received.Get("case")[0]])
		}
		service.Streams = append(service.Streams, kind)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&service, nil)
	return serve(server, *listen, seconds(1))
}

// playServer does what the case's server does, while reading all the time, and prints what was seen.
func playServer(stream grpc.ServerStream, received metadata.MD, played *testCase) error {
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

func codeOf(name string) codes.Code {
	for code, each := range statusNames {
		if each == name {
			return code
		}
	}
	panic("no such status: " + name)
}
