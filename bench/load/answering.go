package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The methods that a replay and its peers answer. A chat message comes back as it is. A push is asked for by one message,
// the number of messages that are wanted (8 bytes, big-endian), all of which are chatMessage(0, stamp).
const (
	chatPath = "/chat.ChatService/Chat"
	pushPath = "/push.PushService/Push"
)

const (
	stamp     = 1_795_348_800 // the timestamp of the messages that are expected
	chatBytes = 60
)

// serveAnswers answers both methods by grpc-go with its own settings. Headers are sent at once.
func serveAnswers(listener net.Listener) {
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	for service, method := range map[string]grpc.StreamDesc{
		"chat.ChatService": {StreamName: "Chat", Handler: answerChat, ServerStreams: true, ClientStreams: true},
		"push.PushService": {StreamName: "Push", Handler: answerPush, ServerStreams: true, ClientStreams: true},
	} {
		server.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{method}}, nil)
	}
	check(server.Serve(listener))
}

func answerChat(_ any, stream grpc.ServerStream) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	var message []byte
	for stream.RecvMsg(&message) == nil {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

func answerPush(_ any, stream grpc.ServerStream) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	var wanted []byte
	if err := stream.RecvMsg(&wanted); err != nil {
		return err
	}
	message := chatMessage(0, stamp)
	for range binary.BigEndian.Uint64(wanted) {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

// chatMessage is a chat.ChatMessage (proto/chat.proto) of chatBytes bytes: sender, message, timestamp.
func chatMessage(number int, timestamp uint64) []byte {
	text := make([]byte, 0, chatBytes)
	text = append(text, "\x0a\x06Client\x12\x2c"...)
	text = binary.AppendUvarint(padded(text, number), 3<<3)
	return binary.AppendUvarint(text, timestamp)
}

// padded writes 44 characters: "message ", the number in eight digits, and dots.
func padded(to []byte, number int) []byte {
	to = append(to, "message 00000000............................"...)
	for at := len(to) - 29; number > 0; at, number = at-1, number/10 {
		to[at] = byte('0' + number%10)
	}
	return to
}

// grpcSessions is sessions (answered.go) by a grpc-go client: each of job.Streams goroutines makes call after call.
func grpcSessions(job Job) (Result, error) {
	client, err := grpc.NewClient(job.Target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.CallContentSubtype("proto")))
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	var left atomic.Int64
	left.Store(int64(job.Messages))
	results := make(chan error, job.Streams)
	start := time.Now()
	for range job.Streams {
		go func() {
			var err error
			for err == nil && left.Add(-1) >= 0 {
				err = session(client, job.Stamp)
			}
			results <- err
		}()
	}
	for range job.Streams {
		if err := <-results; err != nil {
			return Result{}, err
		}
	}
	return Result{Seconds: time.Since(start).Seconds()}, nil
}

// session makes one call: three messages, each of which comes back.
func session(client *grpc.ClientConn, timestamp uint64) error {
	stream, err := client.NewStream(context.Background(), &duplex, chatPath)
	if err != nil {
		return err
	}
	for number := range 3 {
		message := chatMessage(number, timestamp)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var answer []byte
	for number := range 3 {
		if err := stream.RecvMsg(&answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, chatMessage(number, stamp)) {
			return fmt.Errorf("the answer to message %d differs", number)
		}
	}
	if err := stream.RecvMsg(&answer); err != io.EOF {
		return fmt.Errorf("the call ended with %v", err)
	}
	return nil
}
