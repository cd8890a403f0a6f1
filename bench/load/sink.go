package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/net/http2"
)

// serveSink answers every call as a client-streaming method does: headers at once, and at the half-close one message,
// which is the number of DATA bytes that came (8 bytes, big-endian), and grpc-status 0. It announces the widest windows
// that HTTP/2 has and renews them at half, so that a sender waits for nothing but the socket.
func serveSink(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			s := &sink{connection: connection, headers: newHeaders(), taken: map[uint32]int{}, counted: map[uint32]int64{}}
			if err := s.serve(); err != nil && err != io.EOF {
				fmt.Fprintln(os.Stderr, "sink:", err)
			}
		}()
	}
}

type sink struct {
	connection net.Conn
	headers    *headers
	taken      map[uint32]int // of the window, since it was last renewed; 0 is the connection's
	counted    map[uint32]int64
}

func (s *sink) serve() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.connection, preface); err != nil {
		return err
	}
	hello := appendFrame(nil, http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, widestWindow))
	if _, err := s.connection.Write(appendWindows(hello, 0, firstWindow)); err != nil {
		return err
	}
	buffer := make([]byte, 1<<20)
	unread := 0
	for {
		size, err := s.connection.Read(buffer[unread:])
		if err != nil {
			return err
		}
		unread += size
		at := 0
		for unread-at >= headerBytes {
			length := int(buffer[at])<<16 | int(buffer[at+1])<<8 | int(buffer[at+2])
			end := at + headerBytes + length
			if end > unread {
				break
			}
			stream := binary.BigEndian.Uint32(buffer[at+5:]) & widestWindow
			answer := s.frame(http2.FrameType(buffer[at+3]), http2.Flags(buffer[at+4]), stream, buffer[at+headerBytes:end])
			if len(answer) > 0 {
				if _, err := s.connection.Write(answer); err != nil {
					return err
				}
			}
			at = end
		}
		unread = copy(buffer, buffer[at:unread])
	}
}

// frame takes one frame and returns what to answer. Header blocks are not read: all calls are served alike.
func (s *sink) frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) (answer []byte) {
	switch kind {
	case http2.FrameData:
		s.counted[stream] += int64(len(payload))
		s.taken[stream] += len(payload)
		s.taken[0] += len(payload)
		if s.taken[0] > widestWindow/2 {
			answer = appendWindows(answer, 0, widestWindow-s.taken[0])
			s.taken[0] = 0
		}
		if s.taken[stream] > widestWindow/2 {
			answer = appendFrame(answer, http2.FrameWindowUpdate, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(s.taken[stream])))
			s.taken[stream] = 0
		}
		if flags.Has(http2.FlagDataEndStream) {
			answer = appendMessage(answer, stream, binary.BigEndian.AppendUint64(nil, uint64(s.counted[stream])))
			answer = s.headers.append(answer, http2.FlagHeadersEndStream, stream, "grpc-status", "0")
			delete(s.counted, stream)
			delete(s.taken, stream)
		}
	case http2.FrameHeaders:
		answer = s.headers.append(answer, 0, stream, ":status", "200", "content-type", "application/grpc")
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			answer = appendFrame(answer, http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			answer = appendFrame(answer, http2.FramePing, http2.FlagPingAck, 0, payload)
		}
	}
	return answer
}
