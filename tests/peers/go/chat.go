// The chat programs: what examples/chat_app does, printed the same way.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"duplexmock.test/peers/chatpb"
)

func seconds(value float64) time.Duration {
	return time.Duration(value * float64(time.Second))
}

// stamp is the time a message carries: `fixed`, or the wall clock where that is negative.
func stamp(fixed int64) int64 {
	if fixed < 0 {
		return time.Now().Unix()
	}
	return fixed
}

func said(arrow string, message *chatpb.ChatMessage) string {
	return fmt.Sprintf("%s [%d] %s: %s", arrow, message.Timestamp, message.Sender, message.Message)
}

type chatService struct {
	chatpb.UnimplementedChatServiceServer
	kind      string
	interval  time.Duration
	pushes    int
	timestamp int64
}

func (service *chatService) Chat(stream chatpb.ChatService_ChatServer) error {
	if service.kind == "ack" {
		return service.acknowledge(stream)
	}
	return service.push(stream)
}

func (service *chatService) send(stream chatpb.ChatService_ChatServer, text string) error {
	message := &chatpb.ChatMessage{Sender: "Server", Message: text, Timestamp: stamp(service.timestamp)}
	show(said("<", message))
	return stream.Send(message)
}

func (service *chatService) acknowledge(stream chatpb.ChatService_ChatServer) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		show(said(">", message))
		if err := service.send(stream, "ack: "+message.Message); err != nil {
			return err
		}
	}
}

// push greets at an interval while it reads; it ends when both are done, or with the call.
func (service *chatService) push(stream chatpb.ChatService_ChatServer) error {
	read := make(chan error, 1)
	go func() {
		for {
			message, err := stream.Recv()
			if err == io.EOF {
				read <- nil
				return
			}
			if err != nil {
				read <- err
				return
			}
			show(said(">", message))
		}
	}()
	for pushed := 0; pushed != service.pushes; pushed++ {
		if pushed > 0 {
			select {
			case <-time.After(service.interval):
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
		if err := service.send(stream, "Hello from the server!"); err != nil {
			return err
		}
	}
	return <-read
}

func chatServer(arguments []string) int {
	flags := flag.NewFlagSet("chat-server", flag.ExitOnError)
	listen := listenFlag(flags)
	kind := flags.String("kind", "push", "push at an interval, or ack")
	interval := flags.Float64("interval", 5, "seconds between two pushes")
	pushes := flags.Int("pushes", -1, "end after so many pushes; else at the deadline")
	timestamp := flags.Int64("timestamp", -1, "what each message carries; else the wall clock")
	grace := flags.Float64("grace", 1, "seconds for open calls, at the end")
	flags.Parse(arguments)
	if *kind != "push" && *kind != "ack" {
		fmt.Fprintln(os.Stderr, "--kind is push or ack")
		return 2
	}
	server := grpc.NewServer()
	chatpb.RegisterChatServiceServer(server, &chatService{
		kind: *kind, interval: seconds(*interval), pushes: *pushes, timestamp: *timestamp,
	})
	return serve(server, *listen, seconds(*grace))
}

func chatClient(arguments []string) int {
	flags := flag.NewFlagSet("chat-client", flag.ExitOnError)
	target := targetFlag(flags)
	count := flags.Int("count", 3, "messages to write")
	interval := flags.Float64("interval", 2, "seconds after each message")
	deadline := flags.Float64("deadline", 10, "seconds, of the call")
	timestamp := flags.Int64("timestamp", -1, "what each message carries; else the wall clock")
	ends := flags.String("ends", "OK", "the status that makes the exit code 0")
	calls := flags.Int("calls", 1, "chats at the same time, on one connection")
	flags.Parse(arguments)

	connection, err := dial(*target)
	if err != nil {
		return fail(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), seconds(*deadline))
	defer cancel()
	client := chatpb.NewChatServiceClient(connection)
	codes := make(chan codes.Code, *calls)
	for range *calls {
		go func() { codes <- chat(ctx, client, *count, seconds(*interval), *timestamp) }()
	}
	exitCode := 0
	for range *calls {
		code := <-codes
		show("ended: " + statusNames[code])
		if statusNames[code] != *ends {
			exitCode = 1
		}
	}
	return exitCode
}

// chat says `count` messages and half-closes, and at the same time reads to the end.
func chat(ctx context.Context, client chatpb.ChatServiceClient, count int, interval time.Duration, timestamp int64) codes.Code {
	stream, err := client.Chat(ctx)
	if err != nil {
		return status.Code(err)
	}
	go func() {
		for number := 0; number < count; number++ {
			message := &chatpb.ChatMessage{
				Sender: "Client", Message: fmt.Sprintf("Hi there! Message %d", number), Timestamp: stamp(timestamp),
			}
			show(said(">", message))
			if stream.Send(message) != nil {
				return // the call is over; its reader learns how
			}
			select {
			case <-time.After(interval):
			case <-stream.Context().Done():
				return
			}
		}
		show("> half-close")
		stream.CloseSend()
	}()
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return codes.OK
		}
		if err != nil {
			return status.Code(err)
		}
		show(said("<", message))
	}
}

// statusNames are gRPC's own, which codes.Code.String does not give.
var statusNames = map[codes.Code]string{
	codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}
