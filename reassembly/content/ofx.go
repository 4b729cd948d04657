package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/internal/markup"
)

// Bounds of what is kept of an OFX body.
const (
	maxAggregates  = 32 // open; deeper is not looked at
	maxMessageSets = 16
	maxStatusCodes = 32
	maxOFXName     = 32 // octets of an element's name (OFX 2.3 section 2.3.2)
	maxAmount      = 32 // octets (OFX 2.3 section 3.2.9.1)
)

// aggregate is an element with elements in it.
type aggregate struct {
	name []byte // as sent
	path uint64
	tag  ofxTag
}

// ofxTag is an aggregate that means something here.
type ofxTag uint8

const (
	tagNone     ofxTag = iota
	tagSignOn          // SONRQ, SONRS
	tagStatus          // STATUS
	tagTransfer        // XFERINFO, WIRERQ, PMTINFO
	tagFrom            // BANKACCTFROM, CCACCTFROM, INVACCTFROM
	tagTo              // BANKACCTTO, CCACCTTO, INVACCTTO
)

var ofxTags = map[string]ofxTag{
	"SONRQ": tagSignOn, "SONRS": tagSignOn, "STATUS": tagStatus,
	"XFERINFO": tagTransfer, "WIRERQ": tagTransfer, "PMTINFO": tagTransfer,
	"BANKACCTFROM": tagFrom, "CCACCTFROM": tagFrom, "INVACCTFROM": tagFrom,
	"BANKACCTTO": tagTo, "CCACCTTO": tagTo, "INVACCTTO": tagTo,
}

// ofxWalk is a walk through an Open Financial Exchange body, in SGML (OFX 1.x,
// header OFXHEADER:100) or XML (2.x): there, elements that hold text need no end
// tag. What it says is kept as views.
type ofxWalk struct {
	open  [maxAggregates]aggregate
	depth int

	sets     [maxMessageSets][]byte
	setCount int
	codes    [maxStatusCodes][]byte
	codeN    int
	signOn   []byte // status code of the sign-on

	user, password value
	passwords      int
	tokens         [maxSessionTokens]value
	tokenCount     int

	source, destination, payee value
	amount, currency           value
}

// walkOFX goes through an OFX body, noting its elements as keys.
func (e *Extractor) walkOFX(data []byte, whole bool) {
	o := &e.ofx
	*o = ofxWalk{}
	s := markup.New(data)
	var leaf []byte // the element that was opened last
	for {
		t, raw := s.Next()
		switch t {
		case markup.End:
			return
		case markup.Open:
			if leaf != nil && !e.openAggregate(leaf) {
				return
			}
			o.messageSet(raw)
			if leaf = raw; s.Empty() {
				e.keys.add(o.path(), leaf)
				leaf = nil
			}
		case markup.Text:
			if leaf != nil {
				e.keys.add(o.path(), leaf)
				if !s.Cut() || whole {
					o.element(leaf, markupValue(raw))
				}
				leaf = nil
			}
		case markup.Close:
			if leaf != nil {
				e.keys.add(o.path(), leaf)
			}
			if leaf == nil || !bytes.Equal(leaf, raw) {
				o.close(raw)
			}
			leaf = nil
		}
	}
}

// path is that of the innermost aggregate.
func (o *ofxWalk) path() uint64 {
	if o.depth == 0 {
		return rootPath
	}
	return o.open[o.depth-1].path
}

// openAggregate opens an aggregate; false if there are too many.
func (e *Extractor) openAggregate(name []byte) bool {
	o := &e.ofx
	if o.depth == maxAggregates {
		return false
	}
	path, _, _ := e.keys.add(o.path(), name)
	var buf [maxOFXName]byte
	o.open[o.depth] = aggregate{name, path, ofxTags[string(upperName(buf[:0], name))]}
	o.depth++
	return true
}

// close closes the innermost aggregate of a name; without one nothing happens.
func (o *ofxWalk) close(name []byte) {
	for i := o.depth - 1; i >= 0; i-- {
		if bytes.Equal(o.open[i].name, name) {
			o.depth = i
			return
		}
	}
}

// upperName appends a name with ASCII letters in upper case, nothing if it is
// longer than dst can hold.
func upperName(dst, name []byte) []byte {
	if len(name) > cap(dst) {
		return dst
	}
	for _, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// messageSet notes a message set by its aggregate: BANKMSGSRQV1, SIGNONMSGSRSV1.
func (o *ofxWalk) messageSet(name []byte) {
	var buf [maxOFXName]byte
	n := upperName(buf[:0], name)
	i := bytes.Index(n, []byte("MSGSR"))
	if i <= 0 || o.setCount == maxMessageSets || len(n) < i+8 || n[i+5] != 'Q' && n[i+5] != 'S' || n[i+6] != 'V' {
		return
	}
	for _, c := range n[:i] {
		if !isAlnum(c) {
			return
		}
	}
	for _, c := range n[i+7:] {
		if !isDigit(c) {
			return
		}
	}
	o.sets[o.setCount] = name
	o.setCount++
}

// in reports whether one of the innermost n aggregates means this.
func (o *ofxWalk) in(tag ofxTag, n int) bool {
	for i := o.depth - 1; i >= 0 && n > 0; i, n = i-1, n-1 {
		if o.open[i].tag == tag {
			return true
		}
	}
	return false
}

// element takes an element that holds text.
func (o *ofxWalk) element(name []byte, v value) {
	var buf [maxOFXName]byte
	switch string(upperName(buf[:0], name)) {
	case "USERID":
		if o.in(tagSignOn, 1) || o.user.octets == nil {
			o.user = v
		}
	case "USERPASS":
		o.passwords++
		o.password = v
	case "NEWUSERPASS":
		o.passwords++
	case "USERKEY", "SESSCOOKIE", "ACCESSKEY", "ACCESSTOKEN", "AUTHTOKEN":
		if o.tokenCount < maxSessionTokens {
			o.tokens[o.tokenCount] = v
			o.tokenCount++
		}
	case "CODE":
		if o.in(tagStatus, 1) && isNumber(v.octets, 6) && o.codeN < maxStatusCodes {
			o.codes[o.codeN] = v.octets
			o.codeN++
			if o.signOn == nil && o.in(tagSignOn, 2) {
				o.signOn = v.octets
			}
		}
	case "CURDEF", "CURSYM":
		if o.currency.octets == nil && len(v.octets) == 3 && isLetters(v.octets) {
			o.currency = v
		}
	default:
		if o.in(tagTransfer, maxAggregates) {
			o.transfer(string(upperName(buf[:0], name)), v)
		}
	}
}

// transfer takes an element of a transfer or payment. Of several transfers in a
// body the first counts.
func (o *ofxWalk) transfer(name string, v value) {
	var to *value
	switch name {
	case "ACCTID":
		switch {
		case o.in(tagFrom, 1):
			to = &o.source
		case o.in(tagTo, 1):
			to = &o.destination
		}
	case "PAYACCT", "PAYEEID", "PAYEELSTID": // of a payment to somebody's name
		to = &o.payee
	case "TRNAMT":
		if isAmount(v.octets) {
			to = &o.amount
		}
	}
	if to != nil && to.octets == nil {
		*to = v
	}
}

func isNumber(b []byte, most int) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0 && len(b) <= most
}

func isLetters(b []byte) bool {
	for _, c := range b {
		if !isAlpha(c) {
			return false
		}
	}
	return true
}

// isAmount reports whether b is an amount: digits with a sign and a decimal
// point or comma perhaps.
func isAmount(b []byte) bool {
	digits := 0
	for i, c := range b {
		switch {
		case isDigit(c):
			digits++
		case c == '.' || c == ',':
		case (c == '-' || c == '+') && i == 0:
		default:
			return false
		}
	}
	return digits > 0 && len(b) <= maxAmount
}

// isAnonymous reports whether a user id is the one that stands for nobody (OFX
// 2.3 section 2.5.1.4): "anonymous", filled up with zeros.
func isAnonymous(user []byte) bool {
	return hasPrefixFold(user, "anonymous") && len(bytes.TrimRight(user[len("anonymous"):], "0")) == 0
}

// ofxRequest sets what an OFX request says: the sign-on as credentials, the
// message sets, the operation (the first message set behind the sign-on's), a
// transfer.
func (e *Extractor) ofxRequest(tx *reassembly.Transaction) {
	o, c := &e.ofx, &e.body
	c.touched = true
	c.tokens, c.tokenCount = o.tokens, o.tokenCount
	if o.passwords > 0 && !isAnonymous(o.user.octets) {
		c.user, c.password, c.passwordFields = o.user, o.password, o.passwords
		if o.user.octets != nil {
			c.userName = value{octets: []byte("USERID")}
		}
		c.passwordName = value{octets: []byte("USERPASS")}
	}
	e.setOFX(tx)
	var operation []byte
	for _, set := range o.sets[:o.setCount] {
		if operation = set; !hasPrefixFold(set, "signon") {
			break
		}
	}
	var buf [maxOFXName]byte
	e.set(&tx.Operation, upperName(buf[:0], operation))
}

// ofxResponse sets what an OFX response says: the status codes in order, the
// sign-on's first; a session.
func (e *Extractor) ofxResponse(tx *reassembly.Transaction) {
	o, a := &e.ofx, &e.answer
	a.touched = true
	a.tokens, a.tokenCount = o.tokens, o.tokenCount
	a.code = value{octets: o.signOn}
	e.setOFX(tx)
}

// setOFX sets tx.OFX; of what the request said already nothing is changed.
func (e *Extractor) setOFX(tx *reassembly.Transaction) {
	o := &e.ofx
	if tx.OFX == nil {
		tx.OFX = new(reassembly.OFX)
	}
	to := tx.OFX
	if len(to.MessageSets) == 0 {
		to.MessageSets = e.list(e.copies(o.sets[:o.setCount], true))
	}
	if len(to.StatusCodes) == 0 {
		to.StatusCodes = e.list(e.copies(o.codes[:o.codeN], false))
	}
	transfer := to.Amount != "" || o.amount.octets != nil
	if to.SourceHash == "" {
		e.setHash(&to.SourceHash, KindAccount, o.source)
	}
	if to.DestinationHash == "" {
		if o.destination.octets == nil {
			o.destination = o.payee
		}
		e.setHash(&to.DestinationHash, KindAccount, o.destination)
	}
	if to.Amount == "" {
		e.set(&to.Amount, o.amount.octets)
	}
	if to.Currency == "" && transfer {
		e.set(&to.Currency, o.currency.octets)
	}
}

// copies makes items of views, in upper case if that is asked for.
func (e *Extractor) copies(views [][]byte, upper bool) [][]byte {
	e.arena, e.items = e.arena[:0], e.items[:0]
	for _, v := range views {
		from := len(e.arena)
		if e.arena = append(e.arena, v...); upper {
			upperName(e.arena[from:from], v)
		}
		e.items = append(e.items, e.arena[from:len(e.arena):len(e.arena)])
	}
	return e.items
}
