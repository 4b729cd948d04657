package jsonl

import (
	"fmt"

	"offpath/reassembly"
)

// helloAction is the event.action of a ClientHello's line.
const helloAction = "tls-client-hello"

// appendHello appends a ClientHello as one line, with its line feed. The Reader
// passes over it.
func appendHello(dst []byte, tx *reassembly.Transaction) []byte {
	b := append(dst, `{"@timestamp":`...)
	start := len(b)
	b = appendTime(b, tx.Start)
	b = append(b, `,"event":{"action":"`+helloAction+`"`...)
	b = str(b, `,"id":"`, tx.ID)
	b = appendLaterTime(append(b, `,"end":`...), tx.End, tx.Start, start)
	b = append(b, '}')
	source := len(b) + len(sourceIP)
	b = appendEndpoint(b, sourceIP, tx.Source)
	b = appendEndpoint(b, `,"destination":{"ip":"`, tx.Destination)
	b = appendClient(b, tx, source)
	b = appendNetwork(b, tx)
	b, tls := open(b, `,"tls":`)
	b, client := open(b, `,"client":`)
	b = str(b, `,"ja3":"`, tx.Hello.JA3)
	b = str(b, `,"ja4":"`, tx.JA4)
	b = str(b, `,"server_name":"`, tx.ServerName)
	b = tls.end(client.end(b))
	b, offpath := open(b, `,"offpath":`)
	b = list(b, `,"encapsulation":[`, tx.Encapsulation)
	b, hello := open(b, `,"tls":`)
	b = str(b, `,"version":"`, versionName(tx.Hello.Version))
	b = list(b, `,"alpn":[`, tx.Hello.Protocols)
	b = offpath.end(hello.end(b))
	return append(b, "}\n"...)
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
