// Plays the client of cases, one after the other on one connection: a JSON line for each.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(name string) error {
	*n = append(*n, name)
	return nil
}

func casesClient(arguments []string) int {
	flags := flag.NewFlagSet("cases-client", flag.ExitOnError)
	target := targetFlag(flags)
	path := flags.String("cases", "", "the table of cases")
	var chosen names
	flags.Var(&chosen, "case", "play this one; may be repeated")
	flags.Parse(arguments)

	cases, err := readCases(*path)
	if err != nil {
		return fail(err)
	}
	connection, err := dial(*target, grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return fail(err)
	}
	defer connection.Close()
	byName := map[string]*testCase{}
	for _, each := range cases {
		byName[each.Case] = each
		if !flagGiven(flags, "case") {
			chosen = append(chosen, each.Case)
		}
	}
	for _, name := range chosen {
		line, err := playClient(connection, byName[name])
		if err != nil {
			return fail(err)
		}
		show(line)
	}
	return 0
}

func flagGiven(flags *flag.FlagSet, name string) bool {
	given := false
	flags.Visit(func(each *flag.Flag) { given = given || each.Name == name })
	return given
}

// playClient does what the case's client does, while reading all the time, and returns what was seen.
func playClient(connection *grpc.ClientConn, played *testCase) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if played.DeadlineMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(played.DeadlineMs)*time.Millisecond)
		defer cancel()
	}
	sent := metadata.Join(metadata.Pairs("case", played.Case), played.Metadata.asMetadata())
	var options []grpc.CallOption
	if played.Compress {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	kind := streamKinds[played.Method]
	stream, err := connection.NewStream(metadata.NewOutgoingContext(ctx, sent), &kind, casesPrefix+played.Method, options...)
	if err != nil {
		return "", err
	}
	var box *inbox
	if kind.ServerStreams {
		box = fill(stream, false, nil)
	}
	for _, next := range played.Client {
		switch next.name {
		case "send":
			var message payload
			times := 1
			next.argument(0, &message)
			next.argument(1, &times)
			for ; times > 0; times-- {
				raw := []byte(message)
				if err := stream.SendMsg(&raw); err != nil {
					break // the call is over; its reader learns how
				}
			}
		case "half-close":
			stream.CloseSend()
		case "await":
			var count int
			next.argument(0, &count)
			box.waitCount(count)
		case "await-header":
			stream.Header()
		case "cancel":
			cancel()
		default:
			return "", fmt.Errorf("no such step of a client: %s", next.name)
		}
	}
	if box == nil {
		box = fill(stream, true, io.EOF)
	}
	ended := status.New(codes.OK, "")
	if end := box.waitEnd(); end != io.EOF {
		ended = status.Convert(end)
	}
	details := ended.Message()
	if ended.Code() == codes.Canceled || ended.Code() == codes.DeadlineExceeded {
		details = "" // each library's own
	}
	header, _ := stream.Header()
	trailer := []any{"status", statusNames[ended.Code()], details, shownMetadata(stream.Trailer())}
	return sawLine(played.Case, "client", header, box.read(), trailer), nil
}
