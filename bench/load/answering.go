package main

import (
	"encoding/binary"
	"net"

	"google.golang.org/grpc"
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
