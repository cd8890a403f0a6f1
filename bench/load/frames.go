package main

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	headerBytes  = 9     // HTTP/2 frame header, RFC 9113 section 4.1
	prefixBytes  = 5     // gRPC message prefix: a flag and a length
	maxDataBytes = 16384 // SETTINGS_MAX_FRAME_SIZE where nobody says otherwise
	widestWindow = 1<<31 - 1
	firstWindow  = 65535 // of a connection and of a stream, before SETTINGS and WINDOW_UPDATE
)

// appendFrame writes one frame behind what is there.
func appendFrame(to []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	size := len(payload)
	to = append(to, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	to = binary.BigEndian.AppendUint32(to, stream)
	return append(to, payload...)
}

// appendMessage writes one gRPC message as DATA frames of at most maxDataBytes.
func appendMessage(to []byte, stream uint32, payload []byte) []byte {
	message := make([]byte, 1, prefixBytes+len(payload))
	message = binary.BigEndian.AppendUint32(message, uint32(len(payload)))
	message = append(message, payload...)
	for len(message) > 0 {
		size := min(len(message), maxDataBytes)
		to = appendFrame(to, http2.FrameData, 0, stream, message[:size])
		message = message[size:]
	}
	return to
}

// appendWindows widens the connection's window from `now` to the widest, and a stream's too unless it is 0.
func appendWindows(to []byte, stream uint32, now int) []byte {
	grant := binary.BigEndian.AppendUint32(nil, uint32(widestWindow-now))
	to = appendFrame(to, http2.FrameWindowUpdate, 0, 0, grant)
	if stream != 0 {
		to = appendFrame(to, http2.FrameWindowUpdate, 0, stream, grant)
	}
	return to
}

func setting(id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(id)), value)
}

// headers encodes header blocks of one connection, in the order in which they are sent.
type headers struct {
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func newHeaders() *headers {
	h := &headers{}
	h.encoder = hpack.NewEncoder(&h.block)
	return h
}

// append writes one HEADERS frame; fields are name, value, name, value …
func (h *headers) append(to []byte, flags http2.Flags, stream uint32, fields ...string) []byte {
	h.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		check(h.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return appendFrame(to, http2.FrameHeaders, flags|http2.FlagHeadersEndHeaders, stream, h.block.Bytes())
}
