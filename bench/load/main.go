// The load: both ends of every measured conversation, in one process.
//
// It listens on loopback ports and prints them as one JSON line, {"sink": ADDRESS, "grpc": ADDRESS, "answers": ADDRESS}:
//
//	sink     a bare HTTP/2 server that counts the bytes of DATA it is sent (sink.go)
//	grpc     a grpc-go server with default settings (calls.go)
//	answers  another, with the methods that a replay answers (answering.go)
//
// Then each line of standard input is a job, and its result is one line of standard output. A job names the `target` to
// dial, which is one of the addresses or whatever stands in front of it. The process ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
)

// Job is one line of standard input. Which fields count is said at the function that Do names.
type Job struct {
	Do       string `json:"do"`
	Target   string `json:"target"`
	Streams  int    `json:"streams"`
	Size     int    `json:"size"`
	Messages int    `json:"messages"`
	QuietMs  int    `json:"quiet_ms"`
	Stamp    uint64 `json:"stamp"` // the timestamp in chat messages
}

// Result is one line of standard output; a job fills what it measures, or Error.
type Result struct {
	Error   string    `json:"error,omitempty"`
	Seconds float64   `json:"seconds,omitempty"`
	P50Us   float64   `json:"p50_us,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	TimesUs []float64 `json:"times_us,omitempty"`
}

var jobs = map[string]func(Job) (Result, error){
	"flood":          flood,
	"grpc_flood":     grpcFlood,
	"ping_pong":      pingPong,
	"server_stalled": serverStalled,
	"client_stalled": clientStalled,
	"echo":           echo,
	"push":           push,
	"arrivals":       arrivals,
	"sessions":       sessions,
	"grpc_sessions":  grpcSessions,
	"idle":           idle,
	"hang_up":        hangUp,
}

func main() {
	sink, grpc, answers := listen(), listen(), listen()
	go serveSink(sink)
	go serveCalls(grpc)
	go serveAnswers(answers)
	output := json.NewEncoder(os.Stdout)
	check(output.Encode(map[string]string{
		"sink": sink.Addr().String(), "grpc": grpc.Addr().String(), "answers": answers.Addr().String()}))

	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var job Job
		check(json.Unmarshal(lines.Bytes(), &job))
		result, err := run(job)
		if err != nil {
			result = Result{Error: err.Error()}
		}
		check(output.Encode(result))
	}
}

func run(job Job) (Result, error) {
	if do, found := jobs[job.Do]; found {
		return do(job)
	}
	return Result{}, fmt.Errorf("no job is called %q", job.Do)
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
