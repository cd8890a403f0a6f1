package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The jobs of this file are calls that a server answers, each by a client at wire level: frames that are made before the
// clock runs, up to 256 KiB a write, and answers that are compared as bytes where they lie. It takes 0.05 µs a message
// (a grpc-go client takes 1 µs), which is several times less than any server here. Windows are respected.

// echo sends job.Messages chat messages, dealt out to job.Streams calls in turn, as fast as the server takes them, and
// expects each of them back, with the timestamp that was recorded: a replay is asked to ignore others. Seconds run from the first message to the last trailer, with all calls open before.
func echo(job Job) (Result, error) {
	if job.Streams < 1 || job.Messages%job.Streams != 0 {
		return Result{}, errors.New("messages must be a multiple of streams")
	}
	var body, block []byte
	frames := make([]frame, 0, job.Messages)
	for number := range job.Messages / job.Streams {
		payload := chatMessage(number, job.Stamp)
		body = appendPrefixed(body, chatMessage(number, stamp))
		for call := range job.Streams {
			block = appendMessage(block, streamOf(call), payload)
			frames = append(frames, frame{call, prefixBytes + chatBytes, len(block)})
		}
	}
	return answered(job, chatPath, body, block, frames)
}

// push has the server send job.Messages messages on one call. Seconds run from the request to the trailer.
func push(job Job) (Result, error) {
	job.Streams = 1
	request := binary.BigEndian.AppendUint64(nil, uint64(job.Messages))
	block := appendMessage(nil, streamOf(0), request)
	body := bytes.Repeat(appendPrefixed(nil, chatMessage(0, stamp)), job.Messages)
	return answered(job, pushPath, body, block, []frame{{0, prefixBytes + len(request), len(block)}})
}

// arrivals is push, of messages that come now and then. TimesUs has for each when it came, since the call was opened
// on a connection that is there.
func arrivals(job Job) (Result, error) {
	c, err := dial(job.Target)
	if err != nil {
		return Result{}, err
	}
	defer c.connection.Close()
	if err := c.wait(func() bool { return c.greeted }); err != nil {
		return Result{}, err
	}
	c.timed = time.Now()
	request := binary.BigEndian.AppendUint64(nil, uint64(job.Messages))
	opening := c.open(nil, job.Target, pushPath, bytes.Repeat(appendPrefixed(nil, chatMessage(0, stamp)), job.Messages))
	opening = appendMessage(opening, streamOf(0), request)
	c.data <- appendFrame(opening, http2.FrameData, http2.FlagDataEndStream, streamOf(0), nil)
	if err := c.wait(func() bool { return c.ended == 1 }); err != nil {
		return Result{}, err
	}
	return Result{TimesUs: c.times}, nil
}

// sessions makes job.Messages calls, job.Streams at once: each is opened, three messages are sent and come back, and it
// is closed. A call's frames are written together, and its successor's as soon as it has ended.
func sessions(job Job) (Result, error) {
	c, err := dial(job.Target)
	if err != nil {
		return Result{}, err
	}
	defer c.connection.Close()
	var body []byte
	for number := range 3 {
		body = appendPrefixed(body, chatMessage(number, stamp))
	}
	whole := func(to []byte) []byte {
		stream := c.next
		to = c.open(to, job.Target, chatPath, body)
		for number := range 3 {
			to = appendMessage(to, stream, chatMessage(number, job.Stamp))
		}
		return appendFrame(to, http2.FrameData, http2.FlagDataEndStream, stream, nil)
	}
	left := job.Messages - job.Streams
	c.succeed = func(to []byte) []byte {
		if left > 0 {
			left--
			to = whole(to)
		}
		return to
	}
	var first []byte
	start := time.Now()
	c.lock.Lock()
	for range job.Streams {
		first = whole(first)
	}
	c.lock.Unlock()
	c.data <- first
	if err := c.wait(func() bool { return c.ended == job.Messages }); err != nil {
		return Result{}, err
	}
	return Result{Seconds: time.Since(start).Seconds()}, nil
}

var idling *caller

// idle opens job.Streams calls on one connection and leaves them open, until hang_up.
func idle(job Job) (Result, error) {
	c, err := dial(job.Target)
	if err != nil {
		return Result{}, err
	}
	idling = c
	return Result{}, c.openAll(job, chatPath, nil)
}

func hangUp(Job) (Result, error) {
	return Result{}, idling.connection.Close()
}

// answered opens calls, sends the frames of the block, half-closes, and waits until `body` has come on each.
func answered(job Job, path string, body, block []byte, frames []frame) (Result, error) {
	c, err := dial(job.Target)
	if err != nil {
		return Result{}, err
	}
	defer c.connection.Close()
	if err := c.openAll(job, path, body); err != nil {
		return Result{}, err
	}
	start := time.Now()
	for begin := 0; len(frames) > 0; {
		allowed, err := c.take(frames)
		if err != nil {
			return Result{}, err
		}
		end := frames[allowed-1].offset
		c.data <- block[begin:end]
		begin, frames = end, frames[allowed:]
	}
	var ends []byte
	for call := range job.Streams {
		ends = appendFrame(ends, http2.FrameData, http2.FlagDataEndStream, streamOf(call), nil)
	}
	c.data <- ends
	if err := c.wait(func() bool { return c.ended == job.Streams }); err != nil {
		return Result{}, err
	}
	return Result{Seconds: time.Since(start).Seconds()}, nil
}

// caller is a client connection. One goroutine reads, one writes; what the reader has to say never waits for what is
// sent, so that a server that does not read before it has written cannot stop both. `lock` guards all below it.
type caller struct {
	connection net.Conn
	headers    *headers
	control    chan []byte
	data       chan []byte

	lock    sync.Mutex
	changed *sync.Cond
	failure error
	greeted bool // the server's SETTINGS came
	next    uint32
	window  int // of the connection
	initial int // of a stream, by SETTINGS
	calls   map[uint32]*conversation
	opened  int // calls whose response headers came
	ended   int // calls whose trailers came
	succeed func(to []byte) []byte
	timed   time.Time
	times   []float64
}

// conversation is one call: its window, and what is expected on it, of which so many bytes came.
type conversation struct {
	window   int
	expected []byte
	came     int
}

func dial(target string) (*caller, error) {
	connection, err := net.Dial("tcp", target)
	if err != nil {
		return nil, err
	}
	c := &caller{connection: connection, headers: newHeaders(), control: make(chan []byte, 4096), data: make(chan []byte),
		next: 1, window: firstWindow, initial: firstWindow, calls: map[uint32]*conversation{},
		succeed: func(to []byte) []byte { return to }}
	c.changed = sync.NewCond(&c.lock)
	hello := append(setting(http2.SettingEnablePush, 0), setting(http2.SettingInitialWindowSize, widestWindow)...)
	hello = appendFrame([]byte(http2.ClientPreface), http2.FrameSettings, 0, 0, hello)
	hello = appendWindows(hello, 0, firstWindow) // for 2 GiB of answers, more than any job here has
	if _, err := connection.Write(hello); err != nil {
		return nil, err
	}
	go c.write()
	go c.read()
	return c, nil
}

// open appends the headers of the next call, with the lock held or before anything has been sent.
func (c *caller) open(to []byte, authority, path string, expected []byte) []byte {
	c.calls[c.next] = &conversation{window: c.initial, expected: expected}
	to = c.headers.append(to, 0, c.next, ":method", "POST", ":scheme", "http", ":path", path, ":authority", authority,
		"te", "trailers", "content-type", "application/grpc", "user-agent", "duplexmock-load")
	c.next += 2
	return to
}

// openAll opens job.Streams calls and waits until the headers of all have come.
func (c *caller) openAll(job Job, path string, expected []byte) error {
	var openings []byte
	c.lock.Lock()
	for range job.Streams {
		openings = c.open(openings, job.Target, path, expected)
	}
	c.lock.Unlock()
	c.data <- openings
	return c.wait(func() bool { return c.opened == job.Streams })
}

// take returns how many of the frames may be sent now, at least 1 and about blockBytes, and takes them off the windows.
func (c *caller) take(frames []frame) (allowed int, err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for {
		if c.failure != nil {
			return 0, c.failure
		}
		for taken := 0; allowed < len(frames) && taken < blockBytes; allowed++ {
			next := frames[allowed]
			call := c.calls[streamOf(next.call)]
			if call == nil {
				return 0, fmt.Errorf("call %d ended before all was sent", next.call+1)
			}
			if next.data > c.window || next.data > call.window {
				break
			}
			c.window -= next.data
			call.window -= next.data
			taken += next.data
		}
		if allowed > 0 {
			return allowed, nil
		}
		c.changed.Wait()
	}
}

func (c *caller) wait(until func() bool) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	for c.failure == nil && !until() {
		c.changed.Wait()
	}
	return c.failure
}

func (c *caller) write() {
	for {
		var octets []byte
		select {
		case octets = <-c.control:
		case octets = <-c.data:
		}
		if _, err := c.connection.Write(octets); err != nil {
			c.fail(err)
			for { // whoever sends looks at the failure next
				<-c.data
			}
		}
	}
}

func (c *caller) fail(err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.failure == nil {
		c.failure = err
	}
	c.changed.Broadcast()
}

func (c *caller) read() {
	buffer := make([]byte, 1<<20)
	decoder := hpack.NewDecoder(4096, nil)
	unread := 0
	for {
		size, err := c.connection.Read(buffer[unread:])
		if err != nil {
			c.fail(err)
			return
		}
		unread += size
		at := 0
		var answer []byte
		c.lock.Lock()
		for unread-at >= headerBytes && err == nil {
			length := int(buffer[at])<<16 | int(buffer[at+1])<<8 | int(buffer[at+2])
			end := at + headerBytes + length
			if end > unread {
				break
			}
			stream := binary.BigEndian.Uint32(buffer[at+5:]) & widestWindow
			kind, flags := http2.FrameType(buffer[at+3]), http2.Flags(buffer[at+4])
			answer, err = c.frame(kind, flags, stream, buffer[at+headerBytes:end], answer, decoder)
			at = end
		}
		c.changed.Broadcast()
		c.lock.Unlock()
		if len(answer) > 0 {
			c.control <- answer
		}
		if err != nil {
			c.fail(err)
			return
		}
		unread = copy(buffer, buffer[at:unread])
	}
}

// frame takes one frame with the lock held, and appends what to answer.
func (c *caller) frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload, answer []byte,
	decoder *hpack.Decoder) ([]byte, error) {
	switch kind {
	case http2.FrameData:
		return answer, c.dataCame(stream, payload)
	case http2.FrameHeaders:
		return c.headersCame(flags, stream, payload, answer, decoder)
	case http2.FrameSettings:
		if flags.Has(http2.FlagSettingsAck) {
			return answer, nil
		}
		for at := 0; at+6 <= len(payload); at += 6 {
			if http2.SettingID(binary.BigEndian.Uint16(payload[at:])) == http2.SettingInitialWindowSize {
				initial := int(binary.BigEndian.Uint32(payload[at+2:]))
				for _, call := range c.calls {
					call.window += initial - c.initial
				}
				c.initial = initial
			}
		}
		c.greeted = true
		return appendFrame(answer, http2.FrameSettings, http2.FlagSettingsAck, 0, nil), nil
	case http2.FrameWindowUpdate:
		increment := int(binary.BigEndian.Uint32(payload))
		if stream == 0 {
			c.window += increment
		} else if call := c.calls[stream]; call != nil {
			call.window += increment
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			return appendFrame(answer, http2.FramePing, http2.FlagPingAck, 0, payload), nil
		}
	case http2.FrameRSTStream:
		if c.calls[stream] != nil {
			return answer, fmt.Errorf("stream %d was reset: %v", stream, http2.ErrCode(binary.BigEndian.Uint32(payload)))
		}
	case http2.FrameGoAway:
		return answer, fmt.Errorf("the server goes away: %q", payload)
	}
	return answer, nil
}

func (c *caller) dataCame(stream uint32, payload []byte) error {
	call := c.calls[stream]
	if call == nil {
		return fmt.Errorf("DATA on stream %d, which has ended", stream)
	}
	end := call.came + len(payload)
	if end > len(call.expected) || !bytes.Equal(payload, call.expected[call.came:end]) {
		return fmt.Errorf("stream %d: the answer differs behind byte %d", stream, call.came)
	}
	if !c.timed.IsZero() {
		us := float64(time.Since(c.timed).Nanoseconds()) / 1000
		for each := prefixBytes + chatBytes; len(c.times) < end/each; {
			c.times = append(c.times, us)
		}
	}
	call.came = end
	return nil
}

func (c *caller) headersCame(flags http2.Flags, stream uint32, payload, answer []byte,
	decoder *hpack.Decoder) ([]byte, error) {
	fields, err := decoder.DecodeFull(payload)
	if err != nil || flags.Has(http2.FlagHeadersPadded) || !flags.Has(http2.FlagHeadersEndHeaders) {
		return answer, fmt.Errorf("headers of stream %d that cannot be read: %v", stream, err)
	}
	call := c.calls[stream]
	if !flags.Has(http2.FlagHeadersEndStream) {
		c.opened++
		return answer, nil
	}
	for _, field := range fields {
		if field.Name == "grpc-status" && field.Value == "0" && call != nil && call.came == len(call.expected) {
			c.ended++
			delete(c.calls, stream)
			return c.succeed(answer), nil
		}
	}
	return answer, fmt.Errorf("stream %d ended with %v", stream, fields)
}

func appendPrefixed(to, payload []byte) []byte {
	to = binary.BigEndian.AppendUint32(append(to, 0), uint32(len(payload)))
	return append(to, payload...)
}
