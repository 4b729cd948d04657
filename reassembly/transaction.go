// Package reassembly makes transactions of packets: what a connection said,
// and what of it was missing.
//
// The root holds the [Transaction] and the order in which transactions are
// handed on ([Less]); the work is done in sub-packages: reassembly/tcp (flows
// and octet streams), reassembly/proxyproto (whose connection a proxy passes on),
// reassembly/http1 and reassembly/http2 (messages), reassembly/websocket (what
// follows an upgrade, counted), reassembly/content (client,
// credentials and body signatures), reassembly/fingerprint (which program
// asks), reassembly/pipeline (which composes them,
// a shard table per worker), reassembly/order (the merge of the workers'
// output) and reassembly/jsonl (the contract's JSON Lines).
//
// Time is event time: the packets' clock and nothing else.
package reassembly

import (
	"net/netip"
	"strings"
)

// Unknown stands in integer fields for "not known"; such a field has no key in
// the JSON.
const Unknown = -1

// Transaction is one HTTP request with its response where one was seen. It is
// immutable once a worker has handed it over, its Annotation aside, until its
// last owner gives it back ([Release]), and holds no view into packet memory.
//
// Strings are octets as on the wire: they may hold anything. An empty string,
// a nil list and [Unknown] mean that the thing is not known; for those where
// empty is a value of its own the field says so.
type Transaction struct {
	// Start is the capture time of the request's first octet (of the
	// response's, if no request was seen), ns since the epoch.
	Start int64
	// End is the event time at which the transaction was finished, ns since the
	// epoch: the input's clock when its last octet was delivered, or the
	// deadline at which it was given up. Transactions are ordered by it.
	End int64
	// Duration is from the request's first octet to the response's last, ns;
	// [Unknown] without a response.
	Duration int64
	// ID is event.id: the same capture gives the same, whatever the hash key.
	ID string

	Source, Destination netip.AddrPort // innermost headers; Source is the HTTP client's side
	Client              netip.Addr     // effective client; see reassembly/content
	CommunityID         string         // Community ID v1
	Sequence            int            // position of the request among those seen on its connection
	VLAN                []uint16       // outermost first
	Encapsulation       []string       // outermost first

	HTTPVersion string // "0.9", "1.0", "1.1", "2"
	Request     Request
	Response    Response
	Auth        Auth
	OFX         *OFX   // nil unless a body is OFX
	GRPC        *GRPC  // nil unless a message is gRPC's
	Operation   string // GraphQL operation, RPC method, OFX message set; see reassembly/content

	JA4              string // of the connection's ClientHello
	ServerName       string // SNI of the connection's ClientHello
	Fingerprint      string // core fingerprint: the only one that verdicts name
	FingerprintLoose string
	FingerprintWire  string
	Event            Event  // nil in the transactions of HTTP
	Informational    []int  // 1xx statuses before the final one
	RefusedBy        string // verdict id by whose order the load balancer refused it
	Flags            Flags
	Anomalies        Anomalies
	GapBytes         int64     // octets of this transaction that the capture lacks
	Complete         bool      // request and response both seen to their end
	Sensitive        Sensitive // `--detail sensitive`: classes of sensitive data

	Annotation Annotation
}

// Request is the request's half of a transaction.
type Request struct {
	Method    string
	Target    string // request-target as sent; values under credential-like names are hashed
	Domain    string // Host without port
	Path      string
	Query     string // without the question mark
	BodyBytes int64  // octets on the wire, transfer coding removed, content coding kept
	MIMEType  string // without parameters, lower case
	Referrer  string
	UserAgent string
	Headers   []string // field names in wire order, lower case
	Signature Signature

	Detail Detail
}

// Response is the response's half. Status 0 means that no response was seen.
type Response struct {
	Status    int
	BodyBytes int64 // as in Request; Unknown without a response
	MIMEType  string
	Signature Signature

	Detail Detail
}

// Detail is what `--detail` adds.
type Detail struct {
	Fields       [][2]string // `headers`: name and value as sent, in wire order, credentials hashed; nil: not asked for
	SHA256       string      // `bodies`: of the decoded content, hex; "" if not asked for, or not whole
	DecodedBytes int64       // `bodies`: octets of the decoded content; Unknown if not asked for
}

// Signature is what a body and its headers look like without their values.
type Signature struct {
	Media    string   // none, json, form, multipart, xml, ofx, html, text, binary; "" where unknown
	Keys     string   // hash of the set of key names, 16 hex digits; "" without keys
	Order    string   // hash of the key names in order of appearance, 16 hex digits
	Cookies  []string // responses: names of the cookies set, in order
	Location string   // responses: path of the Location field
	Code     string   // error-code-like value of the body (never under a credential's name)
	Length   int      // body length bucket: 0 empty, n for 2^(n-1) <= octets < 2^n; Unknown without a body seen
}

// Auth is what a request shows of credentials and a response of sessions.
// Every *Hash, and every element of the session lists, is a keyed hash of 16
// hex digits (the octets themselves with `--cleartext`).
type Auth struct {
	Carrier          string // of account and password: form, json, xml, ofx, query, basic; of a session alone: bearer, cookie; of neither: api_key
	UserField        string // name of the field that holds the account
	PasswordField    string // name of the field that holds the password
	PasswordFields   int    // how many fields look like a password (two or more: sign-up or change)
	GrantType        string // OAuth 2.0 grant_type (RFC 6749)
	UserHash         string // user.hash
	PasswordHash     string
	SessionPresented []string // tokens and session cookies in the request
	SessionIssued    []string // tokens and session cookies in the response
	TokenIssued      bool     // one of them stands in the body or in a field for tokens: it is no cookie alone
	APIKeyHash       string
}

// OFX is what the Open Financial Exchange bodies of a transaction say; of several
// transfers the first.
type OFX struct {
	MessageSets     []string // of the request, upper case: SIGNONMSGSRQV1, BANKMSGSRQV1; of the response where the request has none
	StatusCodes     []string // of the response, in order: the sign-on's first
	SourceHash      string   // account that a transfer or payment is from, as Auth.UserHash
	DestinationHash string   // account or payee that it is to
	Amount          string   // as sent: 200.00
	Currency        string   // ISO 4217: CURSYM of the transfer, or CURDEF of the response
}

// GRPC is what a call of gRPC over HTTP/2 says beside its method, which is the
// Operation.
type GRPC struct {
	Status           int  // grpc-status: 0 is OK; Unknown if none was seen
	RequestMessages  int  // length-prefixed messages begun; Unknown if the request is not gRPC's
	ResponseMessages int  // likewise
	Partial          bool // there may be more messages than were counted
}

// Event is what happened on a connection and is not an exchange of HTTP: a *Hello
// or a *WebSocket. Its Transaction has no request and no response.
type Event interface {
	Action() string // event.action
}

// Hello is a ClientHello (`--detail tls`). What it says of the client's software
// and of the server's name is in the Transaction.
type Hello struct {
	JA3       string   // MD5, hex
	Version   uint16   // the highest that the client offers, as on the wire
	Protocols []string // ALPN
}

// Action implements Event.
func (*Hello) Action() string { return "tls-client-hello" }

// WebSocket is what was counted of a WebSocket that has ended (`--detail
// websocket`); Start and Duration are from the answer that opened it to the last
// octet.
type WebSocket struct {
	Request        string // event.id of the request that asked for it
	Client, Server SocketSide
}

// Action implements Event.
func (*WebSocket) Action() string { return "websocket-end" }

// SocketSide is what one side of a WebSocket said (RFC 6455).
type SocketSide struct {
	Frames    uint64
	Messages  uint64 // text and binary
	Bytes     uint64 // octets of payloads, as on the wire, missing ones included
	Gap       uint64 // of these, missing
	CloseCode uint16 // of the first close frame; 0: none was seen
	Partial   bool   // it could not be counted to its end
	Invalid   bool   // something was not as RFC 6455 has it
}

// Annotation is what detection adds, as known when the transaction passed it;
// never revised, and absent on Kafka.
type Annotation struct {
	EventOutcome string // success, failure, unknown
	Outcome      string // accepted, rejected, unknown_user, locked, mfa_required, outage
	Endpoint     string // METHOD host/path/{template}[#operation]
	Role         string // login, refresh, transfer …
}

// Flags are the closed list of offpath.flags.
type Flags uint8

// The flags, in the order in which they are written.
const (
	FlagGap       Flags = 1 << iota // octets missing
	FlagMidstream                   // connection joined after its start
	FlagOneWay                      // only one direction on the mirror
	FlagTruncated                   // frames cut by the snap length, or the capture ended
	FlagUpgraded                    // another protocol from here on
	FlagTunnel                      // CONNECT
)

var flagNames = [...]string{"gap", "midstream", "one_way", "truncated", "upgraded", "tunnel"}

// Names returns the flags that are set, in their order.
func (f Flags) Names() []string { return names(uint64(f), flagNames[:]) }

// FlagsFrom is the inverse of Names; ok is false if a name is unknown.
func FlagsFrom(list []string) (f Flags, ok bool) {
	set, ok := bits(list, flagNames[:])
	return Flags(set), ok
}

// Anomalies are the closed list of offpath.anomalies: what was irregular in a
// message or in the stream that carried it.
type Anomalies uint32

// The anomalies, in the order in which they are written.
const (
	AnomalyConflictingContentLength Anomalies = 1 << iota // Content-Length fields that differ (RFC 9112 section 6.3)
	AnomalyInvalidContentLength                           // Content-Length that is no number, negative or too large
	AnomalyContentLengthAndChunked                        // both, the classic smuggling shape (RFC 9112 section 6.1)
	AnomalyUnknownTransferCoding                          // Transfer-Encoding that does not end in chunked
	AnomalyObsFold                                        // obsolete line folding (RFC 9112 section 5.2)
	AnomalyBareLF                                         // line ended by LF without CR
	AnomalyBareCR                                         // CR without LF inside a line
	AnomalyChunkSizeOverflow                              // chunk size beyond 2^63-1
	AnomalyInvalidChunk                                   // chunk size or end that is not one
	AnomalySpaceBeforeColon                               // white space between field name and colon
	AnomalyInvalidHeader                                  // field line that is none
	AnomalyInvalidRequestLine                             // request line that is not of RFC 9112 section 3
	AnomalyInvalidStatusLine                              // status line that is not of RFC 9112 section 4
	AnomalyMissingHost                                    // HTTP/1.1 without Host
	AnomalyDuplicateHost                                  // more than one Host
	AnomalyHeadTooLarge                                   // head beyond the limit; of the rest only what decides framing was read
	AnomalyTooManyHeaders                                 // fields beyond the limit; the rest was not read
	AnomalyOverlapConflict                                // retransmission with other octets
	AnomalyUnsolicitedResponse                            // response without a request
	AnomalyResetInMessage                                 // connection reset inside a message
	AnomalyGarbage                                        // octets that belong to no message
	AnomalyNULInHead                                      // NUL octet in a head
	AnomalyCompressionBomb                                // body that expands beyond bounds when its content coding is undone
	AnomalyHTTP2FrameError                                // frame whose size, stream or place RFC 9113 does not allow
	AnomalyHPACKError                                     // header block that is none (RFC 7541)
	AnomalyInvalidPseudoHeader                            // pseudo-header fields not as in RFC 9113 section 8.3
	AnomalyContentLengthMismatch                          // content that is shorter or longer than Content-Length (RFC 9113 section 8.1.1)
)

var anomalyNames = [...]string{
	"conflicting_content_length", "invalid_content_length", "content_length_and_chunked", "unknown_transfer_coding",
	"obs_fold", "bare_lf", "bare_cr", "chunk_size_overflow", "invalid_chunk", "space_before_colon", "invalid_header",
	"invalid_request_line", "invalid_status_line", "missing_host", "duplicate_host", "head_too_large",
	"too_many_headers", "overlap_conflict", "unsolicited_response", "reset_in_message", "garbage", "nul_in_head", "compression_bomb",
	"http2_frame_error", "hpack_error", "invalid_pseudo_header", "content_length_mismatch",
}

// Names returns the anomalies that are set, in their order.
func (a Anomalies) Names() []string { return names(uint64(a), anomalyNames[:]) }

// AnomaliesFrom is the inverse of Names; ok is false if a name is unknown.
func AnomaliesFrom(list []string) (a Anomalies, ok bool) {
	set, ok := bits(list, anomalyNames[:])
	return Anomalies(set), ok
}

func names(set uint64, all []string) []string {
	var list []string
	for i, name := range all {
		if set&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

func bits(list, all []string) (set uint64, ok bool) {
	ok = true
next:
	for _, name := range list {
		for i := range all {
			if all[i] == name {
				set |= 1 << i
				continue next
			}
		}
		ok = false
	}
	return set, ok
}

// Less is the order of transactions: by end, then start, then community id,
// then sequence, then id. It is total over distinct transactions.
func Less(a, b *Transaction) bool {
	switch {
	case a.End != b.End:
		return a.End < b.End
	case a.Start != b.Start:
		return a.Start < b.Start
	case a.CommunityID != b.CommunityID:
		return a.CommunityID < b.CommunityID
	case a.Sequence != b.Sequence:
		return a.Sequence < b.Sequence
	}
	return strings.Compare(a.ID, b.ID) < 0
}
