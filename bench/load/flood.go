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

// flood sends job.Messages messages of job.Size bytes, dealt out to job.Streams calls in turn, as fast as the target
// takes them, and half-closes each call. Seconds run from the first message to the last trailer, with all calls open
// before. The sink's counts have to add up to what was sent; else the flood is an error and not a figure.
//
// The frames are encoded before the clock runs and written 256 KiB at a time, each small message in a DATA frame of its
// own, as grpc-go and grpc-java send them; messages above 16 KiB are cut into frames of 16 KiB. Windows are respected.
func flood(job Job) (Result, error) {
	if job.Streams < 1 || job.Messages%job.Streams != 0 {
		return Result{}, errors.New("messages must be a multiple of streams")
	}
	connection, err := net.Dial("tcp", job.Target)
	if err != nil {
		return Result{}, err
	}
	defer connection.Close()
	f := newFlooder(connection, job.Streams)
	block, frames := encode(job)
	if err := f.open(job.Target); err != nil {
		return Result{}, err
	}
	go f.read()
	if err := f.wait(func() bool { return f.opened == job.Streams }); err != nil {
		return Result{}, err
	}
	start := time.Now()
	cycles := len(frames) / framesOf(job) / job.Streams // in one block
	for left := job.Messages / job.Streams; left > 0; left -= cycles {
		if err := f.send(block, frames[:min(left, cycles)*job.Streams*framesOf(job)]); err != nil {
			return Result{}, err
		}
	}
	if err := f.halfClose(); err != nil {
		return Result{}, err
	}
	if err := f.wait(func() bool { return f.ended == job.Streams }); err != nil {
		return Result{}, err
	}
	seconds := time.Since(start).Seconds()
	sent := int64(job.Messages) * int64(prefixBytes+job.Size)
	if f.counted != sent {
		return Result{}, fmt.Errorf("%d bytes were sent and %d arrived", sent, f.counted)
	}
	return Result{Seconds: seconds, Bytes: sent}, nil
}

const blockBytes = 256 << 10

// frame is one DATA frame of the encoded block.
type frame struct {
	call   int // 0-based
	data   int // bytes that count against windows
	offset int // of the frame's end in the block
}

func streamOf(call int) uint32 { return uint32(2*call + 1) }

func framesOf(job Job) int { return (prefixBytes + job.Size + maxDataBytes - 1) / maxDataBytes }

// encode makes a block of as many whole turns, one message on each call, as fit into blockBytes, but at least one.
func encode(job Job) (block []byte, frames []frame) {
	payload := make([]byte, job.Size)
	for i := range payload {
		payload[i] = byte(i*7 + 1)
	}
	for len(block) == 0 || len(block)+len(block)/max(1, len(frames)/(framesOf(job)*job.Streams)) <= blockBytes {
		for call := range job.Streams {
			at := len(block)
			block = appendMessage(block, streamOf(call), payload)
			for at < len(block) {
				data := int(block[at])<<16 | int(block[at+1])<<8 | int(block[at+2])
				at += headerBytes + data
				frames = append(frames, frame{call, data, at})
			}
		}
	}
	return block, frames
}

// flooder is one client connection. One goroutine sends, one reads; `lock` guards all below it.
type flooder struct {
	connection net.Conn
	headers    *headers
	writing    sync.Mutex

	lock      sync.Mutex
	changed   *sync.Cond
	failure   error
	window    int   // of the connection
	initial   int   // of a stream, by SETTINGS
	windows   []int // of each stream
	responses []bytes.Buffer
	opened    int // calls whose response headers came
	ended     int // calls whose trailers came
	counted   int64
}

func newFlooder(connection net.Conn, streams int) *flooder {
	f := &flooder{connection: connection, headers: newHeaders(), window: firstWindow, initial: firstWindow,
		windows: make([]int, streams), responses: make([]bytes.Buffer, streams)}
	f.changed = sync.NewCond(&f.lock)
	for call := range f.windows {
		f.windows[call] = firstWindow
	}
	return f
}

func (f *flooder) open(target string) error {
	hello := appendFrame([]byte(http2.ClientPreface), http2.FrameSettings, 0, 0, setting(http2.SettingEnablePush, 0))
	for call := range f.windows {
		hello = f.headers.append(hello, 0, streamOf(call), ":method", "POST", ":scheme", "http", ":path", "/load.Load/Sink",
			":authority", target, "te", "trailers", "content-type", "application/grpc", "user-agent", "duplexmock-load")
	}
	return f.write(hello)
}

func (f *flooder) halfClose() error {
	var frames []byte
	for call := range f.windows {
		frames = appendFrame(frames, http2.FrameData, http2.FlagDataEndStream, streamOf(call), nil)
	}
	return f.write(frames)
}

// send writes the first len(frames) frames of the block, as the windows allow.
func (f *flooder) send(block []byte, frames []frame) error {
	start := 0
	for len(frames) > 0 {
		allowed, err := f.take(frames)
		if err != nil {
			return err
		}
		end := frames[allowed-1].offset
		if err := f.write(block[start:end]); err != nil {
			return err
		}
		start, frames = end, frames[allowed:]
	}
	return nil
}

// take returns how many of the frames may be sent now, at least 1 and about blockBytes, and takes them off the windows.
func (f *flooder) take(frames []frame) (allowed int, err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for {
		if f.failure != nil {
			return 0, f.failure
		}
		for taken := 0; allowed < len(frames) && taken < blockBytes; allowed++ {
			next := frames[allowed]
			if next.data > f.window || next.data > f.windows[next.call] {
				break
			}
			f.window -= next.data
			f.windows[next.call] -= next.data
			taken += next.data
		}
		if allowed > 0 {
			return allowed, nil
		}
		f.changed.Wait()
	}
}

func (f *flooder) write(frames []byte) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	_, err := f.connection.Write(frames)
	return err
}

func (f *flooder) wait(until func() bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	for f.failure == nil && !until() {
		f.changed.Wait()
	}
	return f.failure
}

func (f *flooder) read() {
	framer := http2.NewFramer(nil, f.connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		next, err := framer.ReadFrame()
		var answer []byte
		f.lock.Lock()
		if err == nil {
			answer, err = f.frame(next)
		}
		f.failure = err
		f.changed.Broadcast()
		f.lock.Unlock()
		if err == nil && len(answer) > 0 {
			err = f.write(answer)
		}
		if err != nil {
			return
		}
	}
}

// frame takes one frame with the lock held and returns what to answer.
func (f *flooder) frame(next http2.Frame) (answer []byte, err error) {
	switch next := next.(type) {
	case *http2.SettingsFrame:
		if next.IsAck() {
			return nil, nil
		}
		if initial, found := next.Value(http2.SettingInitialWindowSize); found {
			for call := range f.windows {
				f.windows[call] += int(initial) - f.initial
			}
			f.initial = int(initial)
		}
		return appendFrame(nil, http2.FrameSettings, http2.FlagSettingsAck, 0, nil), nil
	case *http2.WindowUpdateFrame:
		if next.StreamID == 0 {
			f.window += int(next.Increment)
		} else {
			f.windows[next.StreamID/2] += int(next.Increment)
		}
	case *http2.PingFrame:
		if !next.IsAck() {
			return appendFrame(nil, http2.FramePing, http2.FlagPingAck, 0, next.Data[:]), nil
		}
	case *http2.DataFrame:
		f.responses[next.StreamID/2].Write(next.Data())
	case *http2.MetaHeadersFrame:
		return nil, f.headersCame(next)
	case *http2.RSTStreamFrame:
		return nil, fmt.Errorf("stream %d was reset: %v", next.StreamID, next.ErrCode)
	case *http2.GoAwayFrame:
		return nil, fmt.Errorf("the server goes away: %v %q", next.ErrCode, next.DebugData())
	}
	return nil, nil
}

func (f *flooder) headersCame(next *http2.MetaHeadersFrame) error {
	if !next.StreamEnded() {
		f.opened++
		return nil
	}
	for _, field := range next.RegularFields() {
		if field.Name == "grpc-status" && field.Value == "0" {
			response := f.responses[next.StreamID/2].Bytes()
			if len(response) != prefixBytes+8 {
				return fmt.Errorf("the sink answered %d bytes instead of its count", len(response))
			}
			f.counted += int64(binary.BigEndian.Uint64(response[prefixBytes:]))
			f.ended++
			return nil
		}
	}
	return fmt.Errorf("stream %d ended with %v", next.StreamID, next.Fields)
}
