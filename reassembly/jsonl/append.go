package jsonl

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"offpath/reassembly"
)

// AppendTransaction appends tx as one line, with its line feed. Whoever writes
// many has an [Encoder].
func AppendTransaction(dst []byte, tx *reassembly.Transaction) []byte {
	return (*Encoder)(nil).Append(dst, tx)
}

// Append appends tx as one line, with its line feed.
func (e *Encoder) Append(dst []byte, tx *reassembly.Transaction) []byte {
	var own instants
	times := &own
	if e != nil {
		times = &e.times
	}
	if tx.Event != nil {
		return appendEventLine(dst, tx, times)
	}
	b := slices.Grow(dst, typicalLine)
	b = append(b, `{"@timestamp":`...)
	b = times.append(b, tx.Start)
	b = appendEvent(b, tx, times)
	b = e.appendConnection(b, tx)
	b = appendHTTP(b, tx)
	b, url := open(b, `,"url":`)
	b = str(b, `,"original":"`, tx.Request.Target)
	b = str(b, `,"domain":"`, tx.Request.Domain)
	b = str(b, `,"path":"`, tx.Request.Path)
	b = str(b, `,"query":"`, tx.Request.Query)
	b = url.end(b)
	software := e.software(&tx.Request)
	b = software.appendAgent(b, &tx.Request)
	b, tls := open(b, `,"tls":`)
	b, client := open(b, `,"client":`)
	b = str(b, `,"ja4":"`, tx.JA4)
	b = str(b, `,"server_name":"`, tx.ServerName)
	b = tls.end(client.end(b))
	if tx.Auth.UserHash != "" {
		b = appendQuoted(append(b, `,"user":{"hash":"`...), tx.Auth.UserHash)
		b = append(b, '}')
	}
	b = e.appendOffpath(b, tx, software)
	return append(b, "}\n"...)
}

// typicalLine is longer than most lines, octets: room that is made at once.
const typicalLine = 2048

func appendEvent(b []byte, tx *reassembly.Transaction, times *instants) []byte {
	b, event := open(b, `,"event":`)
	b = str(b, `,"id":"`, tx.ID)
	b = known(b, `,"duration":`, tx.Duration)
	b = times.append(append(b, `,"end":`...), tx.End)
	b = str(b, `,"outcome":"`, tx.Annotation.EventOutcome)
	return event.end(b)
}

const sourceIP = `,"source":{"ip":"`

// appendAddresses appends what all transactions of a connection have in common.
func appendAddresses(b []byte, tx *reassembly.Transaction) []byte {
	source := len(b) + len(sourceIP)
	b = appendEndpoint(b, sourceIP, tx.Source)
	b = appendEndpoint(b, `,"destination":{"ip":"`, tx.Destination)
	b = appendClient(b, tx, source)
	return appendNetwork(b, tx)
}

func appendEndpoint(b []byte, opening string, at netip.AddrPort) []byte {
	if !at.Addr().IsValid() {
		return b
	}
	b = appendAddr(append(b, opening...), at.Addr())
	b = appendInt(append(b, `","port":`...), int64(at.Port()))
	return append(b, '}')
}

// appendClient needs to know where the text of the source's address begins:
// mostly they are the same.
func appendClient(b []byte, tx *reassembly.Transaction, source int) []byte {
	if !tx.Client.IsValid() {
		return b
	}
	b = append(b, `,"client":{"ip":"`...)
	if tx.Client == tx.Source.Addr() {
		size := bytes.IndexByte(b[source:], '"')
		b = append(b, b[source:source+size]...)
	} else {
		b = appendAddr(b, tx.Client)
	}
	return append(b, `"}`...)
}

func appendNetwork(b []byte, tx *reassembly.Transaction) []byte {
	b, network := open(b, `,"network":`)
	b = str(b, `,"community_id":"`, tx.CommunityID)
	protocol := "http"
	switch tx.Event.(type) {
	case *reassembly.Hello:
		protocol = "tls"
	case *reassembly.WebSocket:
		protocol = "websocket"
	}
	b = append(append(append(b, `,"protocol":"`...), protocol...), '"')
	if len(tx.VLAN) > 0 {
		b = append(b, `,"vlan":{"id":[`...)
		for i, id := range tx.VLAN {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendInt(b, int64(id))
		}
		b = append(b, "]}"...)
	}
	return network.end(b)
}

func appendHTTP(b []byte, tx *reassembly.Transaction) []byte {
	b, http := open(b, `,"http":`)
	b = str(b, `,"version":"`, tx.HTTPVersion)
	b, request := open(b, `,"request":`)
	b = str(b, `,"method":"`, tx.Request.Method)
	b = appendBody(b, tx.Request.BodyBytes, tx.Request.Detail.SHA256)
	b = str(b, `,"mime_type":"`, tx.Request.MIMEType)
	b = str(b, `,"referrer":"`, tx.Request.Referrer)
	b = request.end(b)
	b, response := open(b, `,"response":`)
	b = appendBody(b, tx.Response.BodyBytes, tx.Response.Detail.SHA256)
	b = str(b, `,"mime_type":"`, tx.Response.MIMEType)
	if tx.Response.Status != 0 {
		b = appendInt(append(b, `,"status_code":`...), int64(tx.Response.Status))
	}
	b = response.end(b)
	return http.end(b)
}

func appendBody(b []byte, octets int64, sha256 string) []byte {
	b, body := open(b, `,"body":`)
	b = known(b, `,"bytes":`, octets)
	if sha256 != "" {
		b = appendQuoted(append(b, `,"hash":{"sha256":"`...), sha256)
		b = append(b, '}')
	}
	return body.end(b)
}

func (e *Encoder) appendOffpath(b []byte, tx *reassembly.Transaction, software *softwareText) []byte {
	b = append(b, `,"offpath":{"sequence":`...)
	b = appendInt(b, int64(tx.Sequence))
	b = str(b, `,"fingerprint":"`, tx.Fingerprint)
	b = str(b, `,"fingerprint_loose":"`, tx.FingerprintLoose)
	b = str(b, `,"fingerprint_wire":"`, tx.FingerprintWire)

	b, request := open(b, `,"request":`)
	b = software.appendShape(b, &tx.Request)
	b = appendDetail(b, &tx.Request.Detail)
	b = request.end(b)
	b, response := open(b, `,"response":`)
	b = e.appendAnswer(b, &tx.Response.Signature)
	b = appendDetail(b, &tx.Response.Detail)
	b = response.end(b)

	b = appendAuth(b, &tx.Auth)
	if tx.OFX != nil {
		b = appendOFX(b, tx.OFX)
	}
	if tx.GRPC != nil {
		b = appendGRPC(b, tx.GRPC)
	}
	b = str(b, `,"operation":"`, tx.Operation)
	if len(tx.Informational) > 0 {
		b = append(b, `,"informational":[`...)
		for i, status := range tx.Informational {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendInt(b, int64(status))
		}
		b = append(b, ']')
	}
	b = str(b, `,"refused_by":"`, tx.RefusedBy)
	if tx.Flags != 0 {
		b = list(b, `,"flags":[`, tx.Flags.Names())
	}
	b = list(b, `,"encapsulation":[`, tx.Encapsulation)
	if tx.GapBytes != 0 {
		b = appendInt(append(b, `,"gap_bytes":`...), tx.GapBytes)
	}
	b = strconv.AppendBool(append(b, `,"complete":`...), tx.Complete)
	if tx.Anomalies != 0 {
		b = list(b, `,"anomalies":[`, tx.Anomalies.Names())
	}
	if tx.Sensitive != 0 {
		b = appendSensitive(b, tx.Sensitive)
	}
	b = str(b, `,"outcome":"`, tx.Annotation.Outcome)
	b = str(b, `,"endpoint":"`, tx.Annotation.Endpoint)
	b = str(b, `,"role":"`, tx.Annotation.Role)
	return append(b, '}')
}

// appendSensitive appends an empty list where it was looked for and nothing found.
func appendSensitive(b []byte, s reassembly.Sensitive) []byte {
	b = append(b, `,"sensitive":[`...)
	for name := range s.All() {
		if b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		b = AppendString(b, name)
	}
	return append(b, ']')
}

func appendAgent(b []byte, agent string) []byte {
	if agent == "" {
		return b
	}
	return append(appendQuoted(append(b, `,"user_agent":{"original":"`...), agent), '}')
}

func appendShape(b []byte, r *reassembly.Request) []byte {
	return appendSignature(list(b, `,"headers":[`, r.Headers), &r.Signature)
}

func appendSignature(b []byte, s *reassembly.Signature) []byte {
	b, signature := open(b, `,"signature":`)
	b = str(b, `,"media":"`, s.Media)
	b = str(b, `,"keys":"`, s.Keys)
	b = str(b, `,"order":"`, s.Order)
	b = list(b, `,"cookies":[`, s.Cookies)
	b = str(b, `,"location":"`, s.Location)
	b = str(b, `,"code":"`, s.Code)
	b = known(b, `,"length":`, int64(s.Length))
	return signature.end(b)
}

func appendDetail(b []byte, d *reassembly.Detail) []byte {
	if d.Fields != nil {
		b = append(b, `,"header_fields":[`...)
		for i, f := range d.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendString(append(b, '['), f[0])
			b = AppendString(append(b, ','), f[1])
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	return known(b, `,"decoded_bytes":`, d.DecodedBytes)
}

func appendAuth(b []byte, a *reassembly.Auth) []byte {
	b, auth := open(b, `,"auth":`)
	b = str(b, `,"carrier":"`, a.Carrier)
	b = str(b, `,"user_field":"`, a.UserField)
	b = str(b, `,"password_field":"`, a.PasswordField)
	if a.Carrier != "" || a.PasswordFields != 0 {
		b = appendInt(append(b, `,"password_fields":`...), int64(a.PasswordFields))
	}
	b = str(b, `,"grant_type":"`, a.GrantType)
	b = str(b, `,"password_hash":"`, a.PasswordHash)
	b = list(b, `,"session_presented":[`, a.SessionPresented)
	b = list(b, `,"session_issued":[`, a.SessionIssued)
	if len(a.SessionIssued) > 0 {
		b = strconv.AppendBool(append(b, `,"token_issued":`...), a.TokenIssued)
	}
	b = str(b, `,"api_key_hash":"`, a.APIKeyHash)
	return auth.end(b)
}

// appendOFX writes the object also if it is empty: that the body is OFX.
func appendOFX(b []byte, o *reassembly.OFX) []byte {
	b = append(b, `,"ofx":`...)
	first := len(b)
	b = list(b, `,"message_sets":[`, o.MessageSets)
	b = list(b, `,"status_codes":[`, o.StatusCodes)
	b = str(b, `,"source_hash":"`, o.SourceHash)
	b = str(b, `,"destination_hash":"`, o.DestinationHash)
	b = str(b, `,"amount":"`, o.Amount)
	b = str(b, `,"currency":"`, o.Currency)
	if len(b) == first {
		return append(b, "{}"...)
	}
	b[first] = '{'
	return append(b, '}')
}

func appendGRPC(b []byte, g *reassembly.GRPC) []byte {
	b, grpc := open(b, `,"grpc":`)
	b = known(b, `,"status":`, int64(g.Status))
	b = known(b, `,"request_messages":`, int64(g.RequestMessages))
	b = known(b, `,"response_messages":`, int64(g.ResponseMessages))
	b = strconv.AppendBool(append(b, `,"partial":`...), g.Partial)
	return grpc.end(b)
}

// object is one that is being written: where it begins with its name, and where
// its first member does. Members are written with the comma before them; that
// of the first becomes the brace when the object ends.
type object struct{ start, first int }

// open begins an object, given its name with what goes before.
func open(b []byte, name string) ([]byte, object) {
	return append(b, name...), object{len(b), len(b) + len(name)}
}

// end ends an object, or takes it back if it is empty.
func (o object) end(b []byte) []byte {
	if len(b) == o.first {
		return b[:o.start]
	}
	b[o.first] = '{'
	return append(b, '}')
}

// str appends a string member, given its name up to the value's first quote,
// unless it is not known.
func str(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendQuoted(append(b, name...), s)
}

// known appends an integer member, unless it is not known.
func known(b []byte, name string, v int64) []byte {
	if v == reassembly.Unknown {
		return b
	}
	return appendInt(append(b, name...), v)
}

// list appends a list of strings as a member, given its name up to the bracket,
// unless it is empty.
func list(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	return appendList(append(b, name...), list)
}

func appendList(b []byte, list []string) []byte {
	for _, s := range list {
		b = append(AppendString(b, s), ',')
	}
	b[len(b)-1] = ']'
	return b
}
