// Package content says what heads and bodies of HTTP messages mean: who the
// effective client is, what was asked for, which credentials and session
// tokens were shown and issued, what a body looks like without its values, and
// whether the load balancer refused the request.
//
// Secrets end here. Account names, passwords, tokens, cookies, API keys and
// card numbers leave as keyed hashes (see [Extractor.Hash]) wherever they
// appear: in the body, in Authorization and Cookie fields, under credential-like
// names in request-target, Referer and Location, and in every header value that
// [Config.DetailHeaders] adds. The names are closed lists in names.go. With
// [Config.Cleartext] everything stays as it was on the wire.
//
// Understood are bodies in JSON, application/x-www-form-urlencoded, multipart
// (form-data with nested parts and parts in JSON; related with SOAP), XML, SOAP
// 1.1 and 1.2 (with WS-Security user names), XML-RPC, OFX (SGML 1.x and XML 2.x),
// JSON-RPC 1.0 and 2.0 and GraphQL (JSON, batches, persisted queries, GET,
// application/graphql, arguments inside documents), under the content codings
// gzip, deflate, br and zstd, up to four one upon the other. Of a body the first
// 16 KiB are looked at, or 2 KiB if it answers a safe method (RFC 9110 section
// 9.2.1: GET and the like): those answers are long, and what issues tokens answers
// POST. Cut text is understood as far as it is complete: a name of JSON with its
// colon, an element with its tag, a field with its end. Of a zstd body whose first
// block is longer than what was captured nothing is seen; elsewhere what was before
// the cut.
//
// Transaction.Operation is a name as the protocol has it, without decoration:
// GraphQL's operationName, or the name in the document, or its first field, or
// the first 16 digits of a persisted query's hash; the method of JSON-RPC and
// XML-RPC; the last part of the SOAP action, or the first element in the body;
// the first message set of OFX behind that of the sign-on. Those of a batch stand
// in order with commas between. Clients choose it: it proves nothing.
//
// With [Config.Sensitive] a transaction says which classes of sensitive data (card
// numbers, IBANs, tokens and the like) stand where: never values. That costs a look
// at every octet, so it is done only when asked for.
//
// Nothing here fails on the octets of a message: what can't be understood is
// left unknown. A body that expands beyond bounds (decode.go) is decoded no
// further and marked.
//
// Memory: readers of content codings are made when first needed and kept: at most
// 8 MiB of window for zstd, 24 MiB for br. An [Extractor] copies what it keeps, so
// heads and bodies may be views into packet memory. Strings that come again and
// again (header name lists, user agents, domains, paths, the hash of a bearer) are
// interned in tables of fixed size, which an entry enters only when it is seen a
// second time: a flood of values seen once costs its own memory and nothing else.
// What JSON bodies look like between their values is learned the same way. A
// repeated request costs no allocation. One worker owns an Extractor; it is not for
// concurrent use.
//
// It doesn't parse messages (reassembly/http1 does), and doesn't judge: what a login
// is and how it ended is detect's. Which program asks, reassembly/fingerprint says.
package content

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"offpath/reassembly"
	"offpath/reassembly/fingerprint"
	"offpath/reassembly/internal/jsonscan"
	"offpath/reassembly/internal/text"
	"offpath/reassembly/message"
)

// Config says what to extract. The zero value but for Key is the live default.
type Config struct {
	// Key is the site key of the keyed hashes, at least 16 octets. Only with
	// Cleartext may it be empty.
	Key []byte
	// Cleartext leaves secrets as they were on the wire.
	Cleartext bool
	// TrustedProxies are the networks whose forwarding headers are believed.
	TrustedProxies []netip.Prefix
	// IgnoreHeaders are names of header fields that take no part in fingerprints.
	IgnoreHeaders []string
	// DetailHeaders fills Detail.Fields.
	DetailHeaders bool
	// DetailBodies fills Detail.SHA256 and Detail.DecodedBytes.
	DetailBodies bool
	// Sensitive fills Transaction.Sensitive: all header values, the target and the
	// first octets of text bodies are looked through, those of answers to safe
	// methods as far as those of others.
	Sensitive bool
	// MarkerHeader is the response header by which a load balancer says that it
	// refused a request, and for which verdict; "" is X-Offpath-Refused.
	MarkerHeader string
}

// DefaultMarkerHeader is the response header that marks a refusal.
const DefaultMarkerHeader = "X-Offpath-Refused"

// MinKey is the least number of octets of a site key.
const MinKey = 16

// Octets of a body that are looked at: for credentials and signature, and with
// DetailBodies.
const (
	bodyLimit       = 16 << 10
	safeAnswerLimit = 2 << 10 // answers to safe methods
	detailBodyLimit = 8 << 20
)

// BodyLimit is how many octets of a body a parser must keep for the Extractor.
func (c *Config) BodyLimit() int {
	if c.DetailBodies {
		return detailBodyLimit
	}
	return bodyLimit
}

// IsSafe reports whether a method is safe (RFC 9110 section 9.2.1).
func IsSafe[T string | []byte](method T) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// SafeAnswerLimit is [Config.BodyLimit] for an answer to a safe method with that
// head: of one without content coding fewer octets will do.
func (c *Config) SafeAnswerLimit(head *message.Head) int {
	if _, coded := head.Get("content-encoding"); coded || c.DetailBodies || c.Sensitive {
		return c.BodyLimit()
	}
	return safeAnswerLimit
}

func (c *Config) validate() error {
	if len(c.Key) < MinKey && !c.Cleartext {
		return fmt.Errorf("hash key of %d octets: at least %d are needed", len(c.Key), MinKey)
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return errors.New("trusted proxies: a network that is no network")
		}
	}
	for i := range len(c.MarkerHeader) {
		if !isTokenByte(c.MarkerHeader[i]) {
			return fmt.Errorf("marker header %q is not a field name", c.MarkerHeader)
		}
	}
	return nil
}

// Extractor fills the fields of transactions that come from heads and bodies.
// It belongs to one worker.
type Extractor struct {
	detailHeaders, detailBodies, sensitive bool

	marker  string // lower case
	trusted []netip.Prefix
	hash    hasher
	strings stringTable
	lists   listTable
	shapes  shapeTable
	media   mediaTable

	software *fingerprint.Cache
	text     text.Builder // strings of the message at hand that no table holds
	decoder  decoder
	xml      xmlWalk
	ofx      ofxWalk

	keyHashes   keyHashTable
	cookies     cookieTable
	paths       [jsonscan.MaxDepth + 1]uint64 // of what holds the members at each depth
	keys        keySet                        // of the query or body at hand
	automaton   automaton
	learner     learner
	query, body credentials // of the request at hand
	answer      answer      // of the response at hand
	member      member      // what a visitor is shown

	rest      rest // of the request-target at hand
	bareQuery bool // the query at hand says nothing of credentials
	host      host // the last that was interned

	// Scratch, re-used from message to message.
	target    []byte   // a URL or header value, redacted
	value     []byte   // a name or value, its encoding undone
	decoded   []byte   // base64 undone
	lower     []byte   // a name or domain in lower case, the digits of a card
	hex       []byte   // a hash
	items     [][]byte // elements of a list to be interned
	structure []byte   // a value with names in it, its encoding undone
	documents []byte   // of GraphQL, in the request at hand
	operation []byte   // that the request at hand calls
	arena     []byte   // octets that items refer to
}

// New returns an Extractor; the error says what is wrong with the Config.
func New(c Config) (*Extractor, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	e := &Extractor{
		detailHeaders: c.DetailHeaders,
		detailBodies:  c.DetailBodies,
		sensitive:     c.Sensitive,
		marker:        lowerString(c.MarkerHeader),
		trusted:       unmapAll(c.TrustedProxies),
		hash:          newHasher(c.Key, c.Cleartext),
		strings:       newStringTable(),
		lists:         newListTable(),
		shapes:        newShapeTable(),
		media:         mediaTable{make([]mediaSlot, mediaSlots)},
		keyHashes:     keyHashTable{make([]keyHashSlot, keyHashSlots)},
		keys:          keySet{names: nameTable{make([]nameSlot, nameSlots)}},
		software:      fingerprint.NewCache(fingerprint.NewNames(c.IgnoreHeaders)),
	}
	e.automaton.reset()
	e.automaton.vectors = haveVectors
	if c.DetailBodies {
		e.decoder.digests, e.decoder.sha = true, sha256.New()
	}
	e.query.call, e.body.call = new(call), new(call)
	if e.marker == "" {
		e.marker = lowerString(DefaultMarkerHeader)
	}
	return e, nil
}

// Request fills tx from a request: HTTPVersion, Client, Request, the fingerprints
// (of a head that is not Partial) and Auth (the session tokens issued aside). What
// only the flow knows (addresses, times, flags) must be there before: Source, JA4,
// and in Client the address that PROXY protocol gave, if it did. As long as tx has no response, the integers of its
// Response become reassembly.Unknown.
func (e *Extractor) Request(tx *reassembly.Transaction, head *message.Head, body message.Body) {
	tx.HTTPVersion = head.Version
	if tx.Response.Status == 0 {
		tx.Response.BodyBytes = reassembly.Unknown
		tx.Response.Signature.Length = reassembly.Unknown
		tx.Response.Detail.DecodedBytes = reassembly.Unknown
	}
	f := e.shapes.fields(head)
	e.client(tx, &f)
	e.requestHead(&tx.Request, &f)
	if !head.Partial {
		prints := e.software.Get(head, tx.JA4)
		tx.Fingerprint, tx.FingerprintLoose, tx.FingerprintWire = prints.Core, prints.Loose, prints.Wire
	}
	e.decoder.begin(&f, body)
	e.requestBody(tx, &f, body)
	if e.sensitive {
		e.sensitiveRequest(tx, head)
	}
	e.detail(&tx.Request.Detail, &f)
	e.bomb(tx)
	e.text.Commit()
	e.splitTarget(&tx.Request)
}

// Response fills tx from the final response: Response, RefusedBy and
// Auth.SessionIssued. If tx has no request, the integers of its Request become
// reassembly.Unknown.
func (e *Extractor) Response(tx *reassembly.Transaction, head *message.Head, body message.Body) {
	if tx.HTTPVersion == "" {
		tx.HTTPVersion = head.Version
	}
	if tx.Request.Method == "" {
		tx.Request.BodyBytes = reassembly.Unknown
		tx.Request.Signature.Length = reassembly.Unknown
		tx.Request.Detail.DecodedBytes = reassembly.Unknown
	}
	tx.Response.Status = head.Status
	f := e.shapes.fields(head)
	e.refusal(tx, head)
	e.decoder.begin(&f, body)
	e.responseBody(tx, &f, body)
	if e.sensitive {
		e.sensitiveResponse(tx, head)
	}
	e.detail(&tx.Response.Detail, &f)
	e.bomb(tx)
	e.text.Commit()
}

// bomb marks a transaction one of whose bodies is a compression bomb.
func (e *Extractor) bomb(tx *reassembly.Transaction) {
	if e.decoder.bomb {
		tx.Anomalies |= reassembly.AnomalyCompressionBomb
	}
}

// Hash returns the keyed hash of value under its kind, as it stands in
// transactions: 16 hex digits, or value itself in cleartext mode.
//
// The key of a kind is HMAC-SHA-256(site key, "offpath " + kind); the hash is
// the first 64 bits of HMAC-SHA-256(key of the kind, value). A load balancer
// that is to recognise a session gets the key of [KindToken] alone.
func (e *Extractor) Hash(kind Kind, value []byte) string {
	return string(e.hash.append(nil, kind, value))
}
