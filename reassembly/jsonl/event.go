package jsonl

import (
	"fmt"
	"strconv"

	"offpath/reassembly"
)

// appendEventLine appends what is no transaction of HTTP as one line, with its
// line feed. The Reader passes over it.
func appendEventLine(dst []byte, tx *reassembly.Transaction, times *instants) []byte {
	b := times.append(append(dst, `{"@timestamp":`...), tx.Start)
	b = str(append(b, `,"event":{"action":"`+tx.Event.Action()+`"`...), `,"id":"`, tx.ID)
	b = known(b, `,"duration":`, tx.Duration)
	b = times.append(append(b, `,"end":`...), tx.End)
	b = appendAddresses(append(b, '}'), tx)
	b, tls := open(b, `,"tls":`)
	b, client := open(b, `,"client":`)
	hello, _ := tx.Event.(*reassembly.Hello)
	if hello != nil {
		b = str(b, `,"ja3":"`, hello.JA3)
	}
	b = str(b, `,"ja4":"`, tx.JA4)
	b = str(b, `,"server_name":"`, tx.ServerName)
	b = tls.end(client.end(b))
	b, offpath := open(b, `,"offpath":`)
	if tx.Flags != 0 {
		b = list(b, `,"flags":[`, tx.Flags.Names())
	}
	b = list(b, `,"encapsulation":[`, tx.Encapsulation)
	switch event := tx.Event.(type) {
	case *reassembly.Hello:
		b = appendHello(b, event)
	case *reassembly.WebSocket:
		b = appendWebSocket(b, event)
	}
	return append(offpath.end(b), "}\n"...)
}

func appendHello(b []byte, h *reassembly.Hello) []byte {
	b, tls := open(b, `,"tls":`)
	b = str(b, `,"version":"`, versionName(h.Version))
	b = list(b, `,"alpn":[`, h.Protocols)
	return tls.end(b)
}

// versionName is the version of TLS as people write it.
func versionName(v uint16) string {
	switch {
	case v == 0x0002:
		return "SSL 2.0"
	case v == 0x0300:
		return "SSL 3.0"
	case 0x0301 <= v && v <= 0x0304:
		return fmt.Sprintf("1.%d", v-0x0301)
	}
	return fmt.Sprintf("%#04x", v)
}

func appendWebSocket(b []byte, w *reassembly.WebSocket) []byte {
	b, socket := open(b, `,"websocket":`)
	b = str(b, `,"request":"`, w.Request)
	b = appendSocketSide(b, `,"client":`, &w.Client)
	b = appendSocketSide(b, `,"server":`, &w.Server)
	return socket.end(b)
}

func appendSocketSide(b []byte, name string, s *reassembly.SocketSide) []byte {
	b, side := open(b, name)
	b = strconv.AppendUint(append(b, `,"frames":`...), s.Frames, 10)
	b = strconv.AppendUint(append(b, `,"messages":`...), s.Messages, 10)
	b = strconv.AppendUint(append(b, `,"bytes":`...), s.Bytes, 10)
	if s.Gap != 0 {
		b = strconv.AppendUint(append(b, `,"gap_bytes":`...), s.Gap, 10)
	}
	if s.CloseCode != 0 {
		b = strconv.AppendUint(append(b, `,"close_code":`...), uint64(s.CloseCode), 10)
	}
	b = strconv.AppendBool(append(b, `,"partial":`...), s.Partial)
	b = strconv.AppendBool(append(b, `,"invalid":`...), s.Invalid)
	return side.end(b)
}
