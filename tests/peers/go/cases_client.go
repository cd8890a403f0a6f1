// Plays the client of cases: a JSON line for each. They are played one after the other on one connection, or, with
// --connections, dealt to so many and all played at once.

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
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
	connections := flags.Int("connections", 0, "deal the cases to so many connections, and play all at once")
	flags.Parse(arguments)

	cases, err := readCases(*path)
	if err != nil {
		return fail(err)
	}
	byName := map[string]*testCase{}
	for _, each := range cases {
		byName[each.Case] = each
		if !flagGiven(flags, "case") {
			chosen = append(chosen, each.Case)
		}
	}
	// A connection's cases are played one after the other, or all at once.
	deal := func(dealt []string, together bool) error {
		connection, err := dial(*target, grpc.WithDefaultCallOptions(
			grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)))
		if err != nil {
			return err
		}
		defer connection.Close()
		if together {
			return atOnce(len(dealt), func(index int) error { return playClient(connection, byName[dealt[index]]) })
		}
		for _, name := range dealt {
			if err := playClient(connection, byName[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if *connections == 0 {
		err = deal(chosen, false)
	} else {
		err = atOnce(*connections, func(first int) error {
			var dealt []string
			for index := first; index < len(chosen); index += *connections {
				dealt = append(dealt, chosen[index])
			}
			return deal(dealt, true)
		})
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

// atOnce does something so many times at once, and returns the first error.
func atOnce(times int, do func(index int) error) error {
	failed := make(chan error, times)
	var done sync.WaitGroup
	for index := range times {
		done.Go(func() { failed <- do(index) })
	}
	done.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

var stdin = bufio.NewReader(os.Stdin)

// awaitLine waits for a line on stdin.
func awaitLine() { stdin.ReadString('\n') }

func flagGiven(flags *flag.FlagSet, name string) bool {
	given := false
	flags.Visit(func(each *flag.Flag) { given = given || each.Name == name })
	return given
}

// playClient does what the case's client does, while reading all the time, and prints what was seen.
func playClient(connection *grpc.ClientConn, played *testCase) error {
	if played.OpensOnLine {
		awaitLine()
	}
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
		return err
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
		case "await-line":
			awaitLine()
		case "await-goaway":
			connection.WaitForStateChange(ctx, connectivity.Ready)
		case "cancel":
			cancel()
		default:
			return fmt.Errorf("no such step of a client: %s", next.name)
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
	show(sawLine(played.Case, "client", header, box.read(), trailer))
	return nil
}
