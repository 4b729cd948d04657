package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"offpath/reassembly"
)

// node is a field, or an object of fields. The value of an object is the
// transaction itself.
type node struct {
	kind    *cel.Type
	value   func(tx *reassembly.Transaction) (any, bool) // false: it is not there
	order   []string                                     // of an object: its members
	members map[string]*node
}

// annotated are the fields that detection adds.
var annotated = map[string]bool{"outcome": true, "endpoint": true, "role": true}

// fields is the whole of a transaction as a Filter sees it, judged that with what
// detection adds.
var (
	fields = tree(typePrefix, leaves)
	judged = tree(judgedPrefix, append(slices.Clip(leaves), annotations...))
)

// leaf is a field by its full name.
type leaf struct {
	path  string
	kind  *cel.Type
	value func(tx *reassembly.Transaction) (any, bool)
}

var (
	texts = cel.ListType(cel.StringType)
	ints  = cel.ListType(cel.IntType)
	pairs = cel.ListType(texts)
)

// leaves are the fields in the order of the contract.
var leaves = []leaf{
	{"timestamp", cel.TimestampType, func(tx *reassembly.Transaction) (any, bool) { return time.Unix(0, tx.Start).UTC(), true }},
	text("event.id", func(tx *reassembly.Transaction) string { return tx.ID }),
	number("event.duration", func(tx *reassembly.Transaction) int64 { return tx.Duration }),
	{"event.end", cel.TimestampType, func(tx *reassembly.Transaction) (any, bool) { return time.Unix(0, tx.End).UTC(), true }},
	{"event.action", cel.StringType, func(tx *reassembly.Transaction) (any, bool) {
		if tx.Event == nil {
			return nil, false
		}
		return tx.Event.Action(), true
	}},
	address("source.ip", func(tx *reassembly.Transaction) netip.Addr { return tx.Source.Addr() }),
	port("source.port", func(tx *reassembly.Transaction) netip.AddrPort { return tx.Source }),
	address("destination.ip", func(tx *reassembly.Transaction) netip.Addr { return tx.Destination.Addr() }),
	port("destination.port", func(tx *reassembly.Transaction) netip.AddrPort { return tx.Destination }),
	address("client.ip", func(tx *reassembly.Transaction) netip.Addr { return tx.Client }),
	text("network.community_id", func(tx *reassembly.Transaction) string { return tx.CommunityID }),
	{"network.protocol", cel.StringType, func(tx *reassembly.Transaction) (any, bool) { return protocol(tx), true }},
	{"network.vlan.id", ints, func(tx *reassembly.Transaction) (any, bool) { return numbers(tx.VLAN) }},
	text("http.version", func(tx *reassembly.Transaction) string { return tx.HTTPVersion }),
	text("http.request.method", func(tx *reassembly.Transaction) string { return tx.Request.Method }),
	octets("http.request.body.bytes", func(tx *reassembly.Transaction) int64 { return tx.Request.BodyBytes }),
	text("http.request.body.hash.sha256", func(tx *reassembly.Transaction) string { return tx.Request.Detail.SHA256 }),
	text("http.request.mime_type", func(tx *reassembly.Transaction) string { return tx.Request.MIMEType }),
	text("http.request.referrer", func(tx *reassembly.Transaction) string { return tx.Request.Referrer }),
	octets("http.response.body.bytes", func(tx *reassembly.Transaction) int64 { return tx.Response.BodyBytes }),
	text("http.response.body.hash.sha256", func(tx *reassembly.Transaction) string { return tx.Response.Detail.SHA256 }),
	text("http.response.mime_type", func(tx *reassembly.Transaction) string { return tx.Response.MIMEType }),
	{"http.response.status_code", cel.IntType, func(tx *reassembly.Transaction) (any, bool) {
		return int64(tx.Response.Status), tx.Response.Status != 0
	}},
	text("url.original", func(tx *reassembly.Transaction) string { return tx.Request.Target }),
	text("url.domain", func(tx *reassembly.Transaction) string { return tx.Request.Domain }),
	text("url.path", func(tx *reassembly.Transaction) string { return tx.Request.Path }),
	text("url.query", func(tx *reassembly.Transaction) string { return tx.Request.Query }),
	text("user_agent.original", func(tx *reassembly.Transaction) string { return tx.Request.UserAgent }),
	text("tls.client.ja4", func(tx *reassembly.Transaction) string { return tx.JA4 }),
	text("tls.client.server_name", func(tx *reassembly.Transaction) string { return tx.ServerName }),
	text("user.hash", func(tx *reassembly.Transaction) string { return tx.Auth.UserHash }),
	{"offpath.sequence", cel.IntType, func(tx *reassembly.Transaction) (any, bool) { return int64(tx.Sequence), tx.Event == nil }},
	text("offpath.fingerprint", func(tx *reassembly.Transaction) string { return tx.Fingerprint }),
	text("offpath.fingerprint_loose", func(tx *reassembly.Transaction) string { return tx.FingerprintLoose }),
	text("offpath.fingerprint_wire", func(tx *reassembly.Transaction) string { return tx.FingerprintWire }),
	list("offpath.request.headers", func(tx *reassembly.Transaction) []string { return tx.Request.Headers }),
	headerFields("offpath.request.header_fields", func(tx *reassembly.Transaction) [][2]string { return tx.Request.Detail.Fields }),
	octets("offpath.request.decoded_bytes", func(tx *reassembly.Transaction) int64 { return tx.Request.Detail.DecodedBytes }),
	headerFields("offpath.response.header_fields", func(tx *reassembly.Transaction) [][2]string { return tx.Response.Detail.Fields }),
	octets("offpath.response.decoded_bytes", func(tx *reassembly.Transaction) int64 { return tx.Response.Detail.DecodedBytes }),
	text("offpath.auth.carrier", func(tx *reassembly.Transaction) string { return tx.Auth.Carrier }),
	text("offpath.auth.user_field", func(tx *reassembly.Transaction) string { return tx.Auth.UserField }),
	text("offpath.auth.password_field", func(tx *reassembly.Transaction) string { return tx.Auth.PasswordField }),
	{"offpath.auth.password_fields", cel.IntType, func(tx *reassembly.Transaction) (any, bool) {
		return int64(tx.Auth.PasswordFields), tx.Auth.Carrier != "" || tx.Auth.PasswordFields != 0
	}},
	text("offpath.auth.grant_type", func(tx *reassembly.Transaction) string { return tx.Auth.GrantType }),
	text("offpath.auth.password_hash", func(tx *reassembly.Transaction) string { return tx.Auth.PasswordHash }),
	list("offpath.auth.session_presented", func(tx *reassembly.Transaction) []string { return tx.Auth.SessionPresented }),
	list("offpath.auth.session_issued", func(tx *reassembly.Transaction) []string { return tx.Auth.SessionIssued }),
	{"offpath.auth.token_issued", cel.BoolType, func(tx *reassembly.Transaction) (any, bool) {
		return tx.Auth.TokenIssued, len(tx.Auth.SessionIssued) > 0
	}},
	text("offpath.auth.api_key_hash", func(tx *reassembly.Transaction) string { return tx.Auth.APIKeyHash }),
	ofxList("offpath.ofx.message_sets", func(o *reassembly.OFX) []string { return o.MessageSets }),
	ofxList("offpath.ofx.status_codes", func(o *reassembly.OFX) []string { return o.StatusCodes }),
	ofxText("offpath.ofx.source_hash", func(o *reassembly.OFX) string { return o.SourceHash }),
	ofxText("offpath.ofx.destination_hash", func(o *reassembly.OFX) string { return o.DestinationHash }),
	ofxText("offpath.ofx.amount", func(o *reassembly.OFX) string { return o.Amount }),
	ofxText("offpath.ofx.currency", func(o *reassembly.OFX) string { return o.Currency }),
	grpcNumber("offpath.grpc.status", func(g *reassembly.GRPC) int { return g.Status }),
	grpcNumber("offpath.grpc.request_messages", func(g *reassembly.GRPC) int { return g.RequestMessages }),
	grpcNumber("offpath.grpc.response_messages", func(g *reassembly.GRPC) int { return g.ResponseMessages }),
	{"offpath.grpc.partial", cel.BoolType, func(tx *reassembly.Transaction) (any, bool) {
		return tx.GRPC != nil && tx.GRPC.Partial, tx.GRPC != nil
	}},
	text("offpath.operation", func(tx *reassembly.Transaction) string { return tx.Operation }),
	{"offpath.informational", ints, func(tx *reassembly.Transaction) (any, bool) { return numbers(tx.Informational) }},
	text("offpath.refused_by", func(tx *reassembly.Transaction) string { return tx.RefusedBy }),
	list("offpath.flags", func(tx *reassembly.Transaction) []string { return tx.Flags.Names() }),
	list("offpath.encapsulation", func(tx *reassembly.Transaction) []string { return tx.Encapsulation }),
	{"offpath.gap_bytes", cel.IntType, func(tx *reassembly.Transaction) (any, bool) { return tx.GapBytes, tx.GapBytes != 0 }},
	{"offpath.complete", cel.BoolType, func(tx *reassembly.Transaction) (any, bool) { return tx.Complete, tx.Event == nil }},
	{"offpath.sensitive", texts, func(tx *reassembly.Transaction) (any, bool) {
		return allReadable(tx.Sensitive.Names()), tx.Sensitive != 0
	}},
	list("offpath.anomalies", func(tx *reassembly.Transaction) []string { return tx.Anomalies.Names() }),
}

// annotations are the fields that detection adds.
var annotations = []leaf{
	text("event.outcome", func(tx *reassembly.Transaction) string { return tx.Annotation.EventOutcome }),
	text("offpath.outcome", func(tx *reassembly.Transaction) string { return tx.Annotation.Outcome }),
	text("offpath.endpoint", func(tx *reassembly.Transaction) string { return tx.Annotation.Endpoint }),
	text("offpath.role", func(tx *reassembly.Transaction) string { return tx.Annotation.Role }),
}

// signatures are the fields of the two signatures.
func signatures(at string, of func(tx *reassembly.Transaction) *reassembly.Signature) []leaf {
	return []leaf{
		text(at+".media", func(tx *reassembly.Transaction) string { return of(tx).Media }),
		text(at+".keys", func(tx *reassembly.Transaction) string { return of(tx).Keys }),
		text(at+".order", func(tx *reassembly.Transaction) string { return of(tx).Order }),
		list(at+".cookies", func(tx *reassembly.Transaction) []string { return of(tx).Cookies }),
		text(at+".location", func(tx *reassembly.Transaction) string { return of(tx).Location }),
		text(at+".code", func(tx *reassembly.Transaction) string { return of(tx).Code }),
		octets(at+".length", func(tx *reassembly.Transaction) int64 { return int64(of(tx).Length) }),
	}
}

func protocol(tx *reassembly.Transaction) string {
	switch tx.Event.(type) {
	case *reassembly.Hello:
		return "tls"
	case *reassembly.WebSocket:
		return "websocket"
	}
	return "http"
}

func text(path string, of func(tx *reassembly.Transaction) string) leaf {
	return leaf{path, cel.StringType, func(tx *reassembly.Transaction) (any, bool) {
		s := of(tx)
		return readable(s), s != ""
	}}
}

func number(path string, of func(tx *reassembly.Transaction) int64) leaf {
	return leaf{path, cel.IntType, func(tx *reassembly.Transaction) (any, bool) {
		n := of(tx)
		return n, n != reassembly.Unknown
	}}
}

// octets is number, of what an event has none of.
func octets(path string, of func(tx *reassembly.Transaction) int64) leaf {
	return leaf{path, cel.IntType, func(tx *reassembly.Transaction) (any, bool) {
		n := of(tx)
		return n, n != reassembly.Unknown && tx.Event == nil
	}}
}

func address(path string, of func(tx *reassembly.Transaction) netip.Addr) leaf {
	return leaf{path, cel.StringType, func(tx *reassembly.Transaction) (any, bool) {
		a := of(tx)
		return a.String(), a.IsValid()
	}}
}

func port(path string, of func(tx *reassembly.Transaction) netip.AddrPort) leaf {
	return leaf{path, cel.IntType, func(tx *reassembly.Transaction) (any, bool) {
		a := of(tx)
		return int64(a.Port()), a.Addr().IsValid()
	}}
}

func list(path string, of func(tx *reassembly.Transaction) []string) leaf {
	return leaf{path, texts, func(tx *reassembly.Transaction) (any, bool) {
		l := of(tx)
		return allReadable(l), len(l) > 0
	}}
}

func headerFields(path string, of func(tx *reassembly.Transaction) [][2]string) leaf {
	return leaf{path, pairs, func(tx *reassembly.Transaction) (any, bool) {
		l := of(tx)
		out := make([][]string, len(l))
		for i := range l {
			out[i] = allReadable(l[i][:])
		}
		return out, l != nil
	}}
}

func ofxText(path string, of func(o *reassembly.OFX) string) leaf {
	return text(path, func(tx *reassembly.Transaction) string {
		if tx.OFX == nil {
			return ""
		}
		return of(tx.OFX)
	})
}

func ofxList(path string, of func(o *reassembly.OFX) []string) leaf {
	return list(path, func(tx *reassembly.Transaction) []string {
		if tx.OFX == nil {
			return nil
		}
		return of(tx.OFX)
	})
}

func grpcNumber(path string, of func(g *reassembly.GRPC) int) leaf {
	return number(path, func(tx *reassembly.Transaction) int64 {
		if tx.GRPC == nil {
			return reassembly.Unknown
		}
		return int64(of(tx.GRPC))
	})
}

func numbers[T int | uint16](list []T) (any, bool) {
	out := make([]int64, len(list))
	for i, n := range list {
		out[i] = int64(n)
	}
	return out, len(list) > 0
}

func allReadable(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = readable(s)
	}
	return out
}

// readable is a string of the wire as JSON Lines have it: a backslash is doubled, and
// an octet that is no valid UTF-8 is \xNN.
func readable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// tree makes objects, whose types begin with a prefix, of the leaves.
func tree(prefix string, leaves []leaf) *node {
	all := append(slices.Clip(leaves),
		signatures("offpath.request.signature", func(tx *reassembly.Transaction) *reassembly.Signature { return &tx.Request.Signature })...)
	all = append(all,
		signatures("offpath.response.signature", func(tx *reassembly.Transaction) *reassembly.Signature { return &tx.Response.Signature })...)
	root := object(prefix, "")
	root.value = func(tx *reassembly.Transaction) (any, bool) { return tx, true }
	for _, l := range all {
		at, rest, path := root, l.path, ""
		for {
			name, after, deeper := strings.Cut(rest, ".")
			path = strings.TrimPrefix(path+"."+name, ".")
			next := at.members[name]
			if next == nil {
				next = &node{kind: l.kind, value: l.value}
				if deeper {
					next = object(prefix, path)
				}
				at.members[name] = next
				at.order = append(at.order, name)
			}
			if !deeper {
				break
			}
			at, rest = next, after
		}
	}
	root.walk("", func(path string, n *node) {
		switch {
		case path == "offpath.ofx": // is there if it is empty, too
			n.value = func(tx *reassembly.Transaction) (any, bool) { return tx, tx.OFX != nil }
		case n.members != nil:
			n.value = func(tx *reassembly.Transaction) (any, bool) { return tx, n.any(tx) }
		}
	})
	return root
}

// What the types of objects have before their path: no field's name begins so.
const (
	typePrefix   = "transaction."
	judgedPrefix = "transaction!"
)

func object(prefix, path string) *node {
	return &node{kind: cel.ObjectType(prefix + path), members: make(map[string]*node)}
}

// paths are the full names of the fields that end in a name, those of their objects
// included.
func (n *node) paths(name string) (list []string) {
	n.walk("", func(path string, _ *node) {
		if path == name || strings.HasSuffix(path, "."+name) {
			list = append(list, path)
		}
	})
	return list
}

// any reports whether a member of an object is there.
func (n *node) any(tx *reassembly.Transaction) bool {
	for _, name := range n.order {
		if _, ok := n.members[name].value(tx); ok {
			return true
		}
	}
	return false
}

// walk visits all that is below a node, objects before their members.
func (n *node) walk(path string, visit func(path string, n *node)) {
	for _, name := range n.order {
		m := n.members[name]
		visit(strings.TrimPrefix(path+"."+name, "."), m)
		m.walk(strings.TrimPrefix(path+"."+name, "."), visit)
	}
}
