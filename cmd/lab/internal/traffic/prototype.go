package traffic

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/fingerprint"
	"offpath/reassembly/message"
)

// sensor makes prototypes: what the real sensor makes of the text of a request
// or a response, once for each kind there is. A transaction is a copy of them
// with hashes, addresses and times of its own, which costs a hundredth.
type sensor struct {
	extractor *content.Extractor
	ja4       bool // handshakes are seen
	forwarded bool // a load balancer forwards
	shapes    *message.Shapes
	requests  map[requestKind]*requestPrototype
	responses map[responseKind]*responsePrototype
}

type requestKind struct {
	software *software
	endpoint *endpoint
	call     call
	session  bool
}

type responseKind struct {
	endpoint *endpoint
	call     call
	answer   answer
}

type requestPrototype struct {
	tx reassembly.Transaction
	id int // where Path holds the id of a bank account; -1: nowhere
}

type responsePrototype struct {
	response reassembly.Response
	issues   bool
	token    bool
	codes    []string // of OFX
	currency string
}

func newSensor(ja4, forwarded bool) *sensor {
	extractor, err := content.New(content.Config{Key: []byte("key of the detection benchmark")})
	if err != nil {
		panic(fmt.Sprintf("the sensor's configuration is constant: %v", err))
	}
	return &sensor{
		extractor: extractor, ja4: ja4, forwarded: forwarded, shapes: message.NewShapes(nil),
		requests: make(map[requestKind]*requestPrototype), responses: make(map[responseKind]*responsePrototype),
	}
}

// example has values of the lengths that all have.
var example = values{user: "customer-12345", password: "secret-12345", session: strings.Repeat("5", 32), issued: strings.Repeat("6", 32), id: "12345678"}

func (n *sensor) request(k requestKind) *requestPrototype {
	if p := n.requests[k]; p != nil {
		return p
	}
	v := example
	if !k.session {
		v.session = ""
	}
	p := &requestPrototype{}
	if n.ja4 {
		p.tx.JA4, p.tx.ServerName = k.software.ja4, k.endpoint.host
	}
	text := request(k.software, k.endpoint, k.call, &v)
	if n.forwarded {
		text = forward(text, "198.51.100.7")
	}
	head, body := n.parse(text)
	n.extractor.Request(&p.tx, head, body)
	p.id = strings.Index(p.tx.Request.Path, example.id)
	p.tx.Complete = true
	n.requests[k] = p
	return p
}

func (n *sensor) response(k responseKind, r *requestPrototype) *responsePrototype {
	if p := n.responses[k]; p != nil {
		return p
	}
	tx := reassembly.Transaction{Request: reassembly.Request{Method: r.tx.Request.Method, Path: r.tx.Request.Path}}
	head, body := n.parse(response(k.endpoint, k.call, k.answer, &example))
	n.extractor.Response(&tx, head, body)
	p := &responsePrototype{response: tx.Response, issues: len(tx.Auth.SessionIssued) > 0, token: tx.Auth.TokenIssued}
	if tx.OFX != nil {
		p.codes, p.currency = tx.OFX.StatusCodes, tx.OFX.Currency
	}
	n.responses[k] = p
	return p
}

// core is the fingerprint of a program, as a load balancer sees it.
func core(s *software) string {
	var fields []message.Field
	for _, f := range s.fields {
		fields = append(fields, message.Field{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	var names fingerprint.Names
	return names.Core(fields)
}

// parse reads a message of text that this package has made.
func (n *sensor) parse(text string) (*message.Head, message.Body) {
	top, rest, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(top, "\r\n")
	h := &message.Head{Version: "1.1"}
	start := strings.SplitN(lines[0], " ", 3)
	if strings.HasPrefix(start[0], "HTTP/") {
		h.Status, _ = strconv.Atoi(start[1])
	} else {
		h.Method, h.Target = []byte(start[0]), []byte(start[1])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		h.Fields = append(h.Fields, message.Field{Name: []byte(name), Value: bytes.TrimSpace([]byte(value))})
	}
	h.Shape = n.shapes.Find(h.Fields)
	return h, message.Body{Prefix: []byte(rest), Bytes: int64(len(rest)), Whole: true}
}
