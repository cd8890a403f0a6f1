package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// counted is a message of which only the bytes are counted, added to those of the messages before.
type counted uint64

// raw is a codec that leaves messages alone.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(payload []byte, value any) error {
	switch value := value.(type) {
	case *[]byte:
		*value = slices.Clone(payload)
	case *counted:
		*value += counted(len(payload))
	}
	return nil
}
func (raw) Name() string { return "raw" }

var duplex = grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// pushed counts the message bytes that grpc-go has taken from the handler of /load.Load/Push.
var pushed atomic.Int64

// serveCalls serves /load.Load/ with grpc-go's own settings: Echo sends back what comes, Count sends its headers at once
// and at the half-close the number of bytes that came (8 bytes, big-endian), Ignore never reads, and Push sends messages
// as long as the call lives and never reads either.
func serveCalls(listener net.Listener) {
	handlers := map[string]grpc.StreamHandler{
		"Echo": func(_ any, stream grpc.ServerStream) error {
			var message []byte
			for stream.RecvMsg(&message) == nil {
				if err := stream.SendMsg(&message); err != nil {
					return err
				}
			}
			return nil
		},
		"Count": func(_ any, stream grpc.ServerStream) error {
			if err := stream.SendHeader(nil); err != nil {
				return err
			}
			var bytes counted
			for {
				if err := stream.RecvMsg(&bytes); err == io.EOF {
					break
				} else if err != nil {
					return err
				}
			}
			answer := binary.BigEndian.AppendUint64(nil, uint64(bytes))
			return stream.SendMsg(&answer)
		},
		"Ignore": func(_ any, stream grpc.ServerStream) error {
			<-stream.Context().Done()
			return nil
		},
		"Push": func(_ any, stream grpc.ServerStream) error {
			return send(stream, &pushed)
		},
	}
	service := grpc.ServiceDesc{ServiceName: "load.Load", HandlerType: (*any)(nil)}
	for name, handler := range handlers {
		service.Streams = append(service.Streams,
			grpc.StreamDesc{StreamName: name, Handler: handler, ServerStreams: true, ClientStreams: true})
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&service, nil)
	check(server.Serve(listener))
}

// send sends messages of 1 KiB until the call ends, and adds their sizes to `taken` as soon as grpc-go has taken them.
func send(stream grpc.Stream, taken *atomic.Int64) error {
	message := make([]byte, 1024)
	for {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
		taken.Add(int64(len(message)))
	}
}

// call opens one duplex call on a connection of its own; `end` cancels it and closes the connection.
func call(target, method string) (stream grpc.ClientStream, end func(), err error) {
	streams, end, err := calls(target, method, 1)
	if err != nil {
		return nil, nil, err
	}
	return streams[0], end, nil
}

// calls opens some duplex calls on a connection of their own; `end` cancels them and closes the connection.
func calls(target, method string, count int) (streams []grpc.ClientStream, end func(), err error) {
	client, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	end = func() {
		cancel()
		client.Close()
	}
	for range count {
		stream, err := client.NewStream(ctx, &duplex, "/load.Load/"+method)
		if err != nil {
			end()
			return nil, nil, err
		}
		streams = append(streams, stream)
	}
	return streams, end, nil
}

// grpcFlood is flood (flood.go) with grpc-go at both ends, each call's messages sent by a goroutine of its own.
func grpcFlood(job Job) (Result, error) {
	if job.Streams < 1 || job.Messages%job.Streams != 0 {
		return Result{}, errors.New("messages must be a multiple of streams")
	}
	streams, end, err := calls(job.Target, "Count", job.Streams)
	if err != nil {
		return Result{}, err
	}
	defer end()
	for _, stream := range streams {
		if _, err := stream.Header(); err != nil {
			return Result{}, err
		}
	}
	start := time.Now()
	each := job.Messages / job.Streams
	results := make(chan error, job.Streams)
	for _, stream := range streams {
		go func() { results <- sendCounted(stream, job.Size, each) }()
	}
	for range streams {
		if err := <-results; err != nil {
			return Result{}, err
		}
	}
	return Result{Seconds: time.Since(start).Seconds(), Bytes: int64(job.Messages) * int64(job.Size)}, nil
}

// sendCounted sends messages on a call of Count, half-closes it, and returns when it has ended with the right count.
func sendCounted(stream grpc.ClientStream, size, messages int) error {
	message, answer := make([]byte, size), []byte(nil)
	for range messages {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(&answer); err != nil {
		return err
	}
	if sent := uint64(messages) * uint64(size); len(answer) != 8 || binary.BigEndian.Uint64(answer) != sent {
		return fmt.Errorf("%d bytes were sent, and the count that came is %x", sent, answer)
	}
	if err := stream.RecvMsg(&answer); err != io.EOF {
		return fmt.Errorf("the call ended with %v", err)
	}
	return nil
}

// pingPong sends a message of job.Size bytes, waits for its echo, and so on, job.Messages times on one call. The result
// is the median of the round trips; a tenth of the number is sent before as warming up.
func pingPong(job Job) (Result, error) {
	stream, end, err := call(job.Target, "Echo")
	if err != nil {
		return Result{}, err
	}
	defer end()
	message, echo := make([]byte, job.Size), []byte(nil)
	trips := make([]time.Duration, 0, job.Messages)
	for n := range job.Messages + job.Messages/10 {
		start := time.Now()
		if err := stream.SendMsg(&message); err != nil {
			return Result{}, err
		}
		if err := stream.RecvMsg(&echo); err != nil {
			return Result{}, err
		}
		if len(echo) != len(message) {
			return Result{}, fmt.Errorf("an echo of %d bytes for a message of %d", len(echo), len(message))
		}
		if n >= job.Messages/10 {
			trips = append(trips, time.Since(start))
		}
	}
	slices.Sort(trips)
	return Result{P50Us: float64(trips[len(trips)/2].Nanoseconds()) / 1000}, nil
}

// serverStalled sends to a handler that never reads, until grpc-go has taken nothing for job.QuietMs.
func serverStalled(job Job) (Result, error) {
	stream, end, err := call(job.Target, "Ignore")
	if err != nil {
		return Result{}, err
	}
	defer end()
	var taken atomic.Int64
	go send(stream, &taken)
	return settled(&taken, job.QuietMs)
}

// clientStalled opens a call to a handler that sends, and never reads. The count is that of the handler's side.
func clientStalled(job Job) (Result, error) {
	pushed.Store(0)
	_, end, err := call(job.Target, "Push")
	if err != nil {
		return Result{}, err
	}
	defer end()
	return settled(&pushed, job.QuietMs)
}

const stallLimit = 1 << 30

// settled waits until the count has stood still for quietMs, and gives up when it passes stallLimit.
func settled(count *atomic.Int64, quietMs int) (Result, error) {
	last, since := int64(0), time.Now()
	for time.Since(since) < time.Duration(quietMs)*time.Millisecond || last == 0 {
		time.Sleep(5 * time.Millisecond)
		if now := count.Load(); now != last {
			last, since = now, time.Now()
		}
		if last > stallLimit {
			return Result{}, errors.New("there is no back-pressure: 1 GiB was swallowed")
		}
		if last == 0 && time.Since(since) > time.Minute {
			return Result{}, errors.New("nothing was sent within a minute")
		}
	}
	return Result{Bytes: last}, nil
}
