package netfilter

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// elementsPerMessage keeps the list of elements in a message below the 64 KiB of an
// attribute.
const elementsPerMessage = 500

// Batch is a list of orders that are carried out together or not at all. All are about
// tables of the family inet.
type Batch struct {
	messages []message
}

type message struct {
	kind, flags uint16
	what        string // for an error
	attributes  attributes
}

func (b *Batch) add(kind, flags uint16, what string, a attributes) {
	b.messages = append(b.messages, message{kind, flags, what, a})
}

// AddTable makes a table if it is not there.
func (b *Batch) AddTable(table string) {
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "add table "+table, attributes(nil).text(unix.NFTA_TABLE_NAME, table))
}

// DropTable deletes a table with all that is in it.
func (b *Batch) DropTable(table string) {
	b.add(unix.NFT_MSG_DELTABLE, 0, "delete table "+table, attributes(nil).text(unix.NFTA_TABLE_NAME, table))
}

// Hook is where packets come into a base chain: the number of the netfilter hook and the
// priority there.
type Hook struct {
	Number   uint32
	Priority int32
}

// accept is NF_ACCEPT of include/uapi/linux/netfilter.h.
const accept = 1

// AddChain makes a chain if it is not there; with a hook, of type filter and policy
// accept.
func (b *Batch) AddChain(table, chain string, hook *Hook) {
	a := attributes(nil).text(unix.NFTA_CHAIN_TABLE, table).text(unix.NFTA_CHAIN_NAME, chain)
	if hook != nil {
		a = a.nested(unix.NFTA_CHAIN_HOOK, attributes(nil).uint32(unix.NFTA_HOOK_HOOKNUM, hook.Number).uint32(unix.NFTA_HOOK_PRIORITY, uint32(hook.Priority)))
		a = a.uint32(unix.NFTA_CHAIN_POLICY, accept).text(unix.NFTA_CHAIN_TYPE, "filter")
	}
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "add chain "+chain, a)
}

// FlushChain deletes the rules of a chain.
func (b *Batch) FlushChain(table, chain string) {
	b.add(unix.NFT_MSG_DELRULE, 0, "flush chain "+chain, attributes(nil).text(unix.NFTA_RULE_TABLE, table).text(unix.NFTA_RULE_CHAIN, chain))
}

// AddRule appends a rule to a chain.
func (b *Batch) AddRule(table, chain string, of ...Expression) {
	var list attributes
	for _, e := range of {
		list = list.nested(unix.NFTA_LIST_ELEM, attributes(nil).text(unix.NFTA_EXPR_NAME, e.name).nested(unix.NFTA_EXPR_DATA, e.data))
	}
	a := attributes(nil).text(unix.NFTA_RULE_TABLE, table).text(unix.NFTA_RULE_CHAIN, chain).nested(unix.NFTA_RULE_EXPRESSIONS, list)
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, "add rule to "+chain, a)
}

// KeyType is the type of a set's keys, as nft numbers and shows it.
type KeyType struct{ number, octets uint32 }

// The types of keys.
var (
	IPv4     = KeyType{7, 4}
	IPv6     = KeyType{8, 16}
	Protocol = KeyType{12, 1}
	Port     = KeyType{13, 2}
)

// Set is a set of a table.
type Set struct {
	Name     string
	Key      KeyType
	Interval bool // of ranges
	Timed    bool // elements end by themselves, and are counted
	Size     uint32
}

// NFTA_SET_EXPR of enum nft_set_attributes, which x/sys/unix lacks: what each element
// has of its own.
const setExpression = 17

func (s *Set) flags() (flags uint32) {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Timed {
		flags |= unix.NFT_SET_TIMEOUT
	}
	return flags
}

// AddSet makes a set if it is not there.
func (b *Batch) AddSet(table string, s Set) {
	a := attributes(nil).text(unix.NFTA_SET_TABLE, table).text(unix.NFTA_SET_NAME, s.Name).
		uint32(unix.NFTA_SET_FLAGS, s.flags()).uint32(unix.NFTA_SET_KEY_TYPE, s.Key.number).uint32(unix.NFTA_SET_KEY_LEN, s.Key.octets).
		uint32(unix.NFTA_SET_ID, uint32(len(b.messages)+1))
	if s.Size > 0 {
		a = a.nested(unix.NFTA_SET_DESC, attributes(nil).uint32(unix.NFTA_SET_DESC_SIZE, s.Size))
	}
	if s.Timed {
		a = a.nested(setExpression, attributes(nil).text(unix.NFTA_EXPR_NAME, "counter").nested(unix.NFTA_EXPR_DATA, nil))
	}
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "add set "+s.Name, a)
}

// DropSet deletes a set, which no rule may name.
func (b *Batch) DropSet(table, set string) {
	b.add(unix.NFT_MSG_DELSET, 0, "delete set "+set, attributes(nil).text(unix.NFTA_SET_TABLE, table).text(unix.NFTA_SET_NAME, set))
}

// FlushSet deletes all elements of a set.
func (b *Batch) FlushSet(table, set string) {
	b.add(unix.NFT_MSG_DELSETELEM, 0, "flush set "+set, attributes(nil).text(unix.NFTA_SET_ELEM_LIST_TABLE, table).text(unix.NFTA_SET_ELEM_LIST_SET, set))
}

// Element is an element of a set.
type Element struct {
	Key     []byte
	End     bool          // of a set of ranges: where one ends, itself not in it
	Comment string        // at most 120 octets
	Left    time.Duration // until it ends by itself; 0: never
	Ends    time.Time     // when Left is over, by this machine's clock; zero: never. Only read
	Packets uint64        // that met it; only read
}

// AddElements adds elements. One that is there already stays as it is.
func (b *Batch) AddElements(table, set string, list []Element) {
	b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, "add elements to "+set, table, set, list)
}

// DropElements deletes elements, which have to be there.
func (b *Batch) DropElements(table, set string, list []Element) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, "delete elements of "+set, table, set, list)
}

func (b *Batch) elements(kind, flags uint16, what, table, set string, all []Element) {
	for len(all) > 0 {
		part := all[:min(len(all), elementsPerMessage)]
		all = all[len(part):]
		var list attributes
		for i := range part {
			list = list.nested(unix.NFTA_LIST_ELEM, part[i].encode())
		}
		a := attributes(nil).text(unix.NFTA_SET_ELEM_LIST_TABLE, table).text(unix.NFTA_SET_ELEM_LIST_SET, set).
			nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)
		b.add(kind, flags, what, a)
	}
}

func (e *Element) encode() attributes {
	a := attributes(nil).nested(unix.NFTA_SET_ELEM_KEY, data(e.Key))
	if e.End {
		a = a.uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	if e.Left > 0 {
		a = a.uint64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(max(e.Left.Milliseconds(), 1)))
	}
	if e.Comment != "" {
		// As nft writes a comment: type 0 and a length of an octet each, text, NUL.
		comment := e.Comment[:min(len(e.Comment), 120)]
		a = a.octets(unix.NFTA_SET_ELEM_USERDATA, append(append([]byte{0, byte(len(comment) + 1)}, comment...), 0))
	}
	return a
}

// Commit carries a batch out: all of it, or on an error nothing.
func (c *Conn) Commit(b *Batch) error {
	if len(b.messages) == 0 {
		return nil
	}
	c.sequence++
	begin := c.sequence
	out := appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, begin, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	for i := range b.messages {
		m := &b.messages[i]
		c.sequence++
		out = appendMessage(out, messageType(m.kind), m.flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK, c.sequence, unix.NFPROTO_INET, 0, m.attributes)
	}
	c.sequence++
	out = appendMessage(out, unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, c.sequence, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := c.send(out); err != nil {
		return err
	}
	var failed error
	for left := len(b.messages); left > 0; {
		all, err := c.receive()
		if err != nil {
			return errors.Join(failed, err)
		}
		for i := range all {
			r := &all[i]
			at := int(r.sequence - begin)
			if r.kind != unix.NLMSG_ERROR || at < 0 || at > len(b.messages) {
				continue
			}
			err := r.errno()
			if at == 0 { // of the whole
				return errors.Join(failed, err)
			}
			left--
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", b.messages[at-1].what, err)
			}
		}
	}
	return failed
}
