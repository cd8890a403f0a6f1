// The cases as both programs know them: the table, payloads, and what is printed of a call.

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const casesPrefix = "/duplexmock.test.Cases/"

// step is what one side does: a name and its arguments.
type step struct {
	name      string
	arguments []json.RawMessage
}

func (s *step) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	s.arguments = parts[1:]
	return json.Unmarshal(parts[0], &s.name)
}

// argument reads the argument with this index into `value`, where there is one.
func (s *step) argument(index int, value any) {
	if index < len(s.arguments) {
		must(json.Unmarshal(s.arguments[index], value))
	}
}

type testCase struct {
	Case        string
	Method      string
	Metadata    pairs
	DeadlineMs  int64 `json:"deadline_ms"`
	Compress    bool
	OpensOnLine bool `json:"opens_on_line"`
	Client      []step
	Server      []step
}

type pairs [][2]payload

// payload is written as a text, or as {"size": N} for the letters a to z over and over.
type payload []byte

func (p *payload) UnmarshalJSON(text []byte) error {
	var plain string
	if json.Unmarshal(text, &plain) == nil {
		*p = []byte(plain)
		return nil
	}
	var large struct{ Size int }
	if err := json.Unmarshal(text, &large); err != nil {
		return err
	}
	*p = bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), large.Size/26+1)[:large.Size]
	return nil
}

// asMetadata gives the pairs as grpc-go takes them; binary values are written as hex.
func (p pairs) asMetadata() metadata.MD {
	made := metadata.MD{}
	for _, pair := range p {
		key, value := string(pair[0]), string(pair[1])
		if strings.HasSuffix(key, "-bin") {
			raw, err := hex.DecodeString(value)
			must(err)
			value = string(raw)
		}
		made.Append(key, value)
	}
	return made
}

func readCases(path string) ([]*testCase, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cases []*testCase
	return cases, json.Unmarshal(text, &cases)
}

// shown is a message as it is printed.
func shown(message []byte) string {
	if len(message) <= 64 {
		return string(message)
	}
	return fmt.Sprintf("%d bytes %x", len(message), sha256.Sum256(message))
}

// shownMetadata is what is printed of metadata: what a case sent, by its keys.
func shownMetadata(md metadata.MD) map[string][]string {
	seen := map[string][]string{}
	for key, values := range md {
		for _, value := range values {
			switch {
			case !strings.HasPrefix(key, "x-"):
			case strings.HasSuffix(key, "-bin"):
				seen[key] = append(seen[key], hex.EncodeToString([]byte(value)))
			default:
				seen[key] = append(seen[key], shown([]byte(value)))
			}
		}
	}
	return seen
}

// sawLine is one call's line: the header if it had any, the messages, then how it ended.
func sawLine(name, side string, header metadata.MD, messages [][]byte, ending ...[]any) string {
	saw := [][]any{}
	if seen := shownMetadata(header); len(seen) > 0 {
		saw = append(saw, []any{"header", seen})
	}
	for _, message := range messages {
		saw = append(saw, []any{"message", shown(message)})
	}
	line, err := json.Marshal(map[string]any{"case": name, "side": side, "saw": append(saw, ending...)})
	must(err)
	return string(line)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// inbox holds the messages that have been read, and whether there can be more.
type inbox struct {
	mutex    sync.Mutex
	changed  *sync.Cond
	messages [][]byte
	ended    error
}

// fill makes an inbox and reads the stream to its end in the background; `single` streams end after one message.
func fill(stream interface{ RecvMsg(message any) error }, single bool, end error) *inbox {
	box := &inbox{}
	box.changed = sync.NewCond(&box.mutex)
	go func() {
		for {
			var message []byte
			err := stream.RecvMsg(&message)
			box.mutex.Lock()
			if err == nil {
				box.messages = append(box.messages, message)
				if single {
					err = end
				}
			}
			box.ended = err
			box.changed.Broadcast()
			box.mutex.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return box
}

// waitCount waits for so many messages, or the end.
func (box *inbox) waitCount(count int) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	for box.ended == nil && len(box.messages) < count {
		box.changed.Wait()
	}
}

// waitEnd waits for the end and returns it: io.EOF, or what was wrong.
func (box *inbox) waitEnd() error {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	for box.ended == nil {
		box.changed.Wait()
	}
	return box.ended
}

func (box *inbox) read() [][]byte {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	return append([][]byte(nil), box.messages...)
}

// rawCodec passes payloads as they are.
type rawCodec struct{}

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte{}, data...)
	return nil
}

func (rawCodec) Name() string { return "proto" }

// streamKinds are the four kinds of call, by method.
var streamKinds = map[string]grpc.StreamDesc{
	"Bidi":         {StreamName: "Bidi", ClientStreams: true, ServerStreams: true},
	"ClientStream": {StreamName: "ClientStream", ClientStreams: true},
	"ServerStream": {StreamName: "ServerStream", ServerStreams: true},
	"Unary":        {StreamName: "Unary"},
}
