package netfilter

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Generation is the number of the rules in force in this namespace; each batch of
// anybody makes it one larger.
func (c *Conn) Generation() (generation uint32, err error) {
	err = c.ask(unix.NFT_MSG_GETGEN, unix.AF_UNSPEC, nil, false, func() {}, func(b []byte) {
		generation = uint32(number(find(b, unix.NFTA_GEN_ID)))
	})
	return generation, err
}

// NFTA_TABLE_HANDLE of enum nft_table_attributes.
const tableHandle = 4

// Table is the handle of a table, which no other that is made later has; 0: there is none.
func (c *Conn) Table(table string) (handle uint64, err error) {
	err = c.ask(unix.NFT_MSG_GETTABLE, unix.NFPROTO_INET, attributes(nil).text(unix.NFTA_TABLE_NAME, table), false, func() {}, func(b []byte) {
		handle = number(find(b, tableHandle))
	})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	return handle, err
}

// Sets lists the names of a table's sets; none if there is no table.
func (c *Conn) Sets(table string) (names []string, err error) {
	err = c.ask(unix.NFT_MSG_GETSET, unix.NFPROTO_INET, attributes(nil).text(unix.NFTA_SET_TABLE, table), true, func() { names = nil }, func(b []byte) {
		names = append(names, text(find(b, unix.NFTA_SET_NAME)))
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return names, err
}

// Jumps lists, rule by rule, the chain that it jumps to, "" where it does not; none if
// there is no such chain.
func (c *Conn) Jumps(table, chain string) (to []string, err error) {
	a := attributes(nil).text(unix.NFTA_RULE_TABLE, table).text(unix.NFTA_RULE_CHAIN, chain)
	err = c.ask(unix.NFT_MSG_GETRULE, unix.NFPROTO_INET, a, true, func() { to = nil }, func(b []byte) {
		to = append(to, jump(find(b, unix.NFTA_RULE_EXPRESSIONS)))
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return to, err
}

// jump is the chain that the last of a rule's expressions jumps to.
func jump(expressions []byte) (chain string) {
	for _, e := range each(expressions) {
		chain = ""
		if text(find(e, unix.NFTA_EXPR_NAME)) != "immediate" {
			continue
		}
		v := find(find(find(e, unix.NFTA_EXPR_DATA), unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
		if jumps := int32(unix.NFT_JUMP); uint32(number(find(v, unix.NFTA_VERDICT_CODE))) == uint32(jumps) {
			chain = text(find(v, unix.NFTA_VERDICT_CHAIN))
		}
	}
	return chain
}

// Elements lists a set; the error is ENOENT if there is none.
func (c *Conn) Elements(table, set string) (list []Element, err error) {
	a := attributes(nil).text(unix.NFTA_SET_ELEM_LIST_TABLE, table).text(unix.NFTA_SET_ELEM_LIST_SET, set)
	err = c.ask(unix.NFT_MSG_GETSETELEM, unix.NFPROTO_INET, a, true, func() { list = nil }, func(b []byte) {
		now := time.Now() // a long list takes its time
		for kind, b := range each(find(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if kind != unix.NFTA_LIST_ELEM {
				continue
			}
			e := decode(b)
			if e.Left > 0 {
				e.Ends = now.Add(e.Left)
			}
			list = append(list, e)
		}
	})
	return list, err
}

// decode reads an element.
func decode(b []byte) (e Element) {
	for kind, value := range each(b) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.Key = append([]byte{}, find(value, unix.NFTA_DATA_VALUE)...)
		case unix.NFTA_SET_ELEM_FLAGS:
			e.End = number(value)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.Left = time.Duration(min(number(value), 1<<40)) * time.Millisecond
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = comment(value)
		case unix.NFTA_SET_ELEM_EXPR:
			if text(find(value, unix.NFTA_EXPR_NAME)) == "counter" {
				e.Packets = number(find(find(value, unix.NFTA_EXPR_DATA), unix.NFTA_COUNTER_PACKETS))
			}
		}
	}
	return e
}

// comment finds the comment in an element's user data: of each entry type, length, value.
func comment(b []byte) string {
	for len(b) >= 2 {
		kind, length := b[0], int(b[1])
		if length > len(b)-2 {
			return ""
		}
		if kind == 0 {
			return text(b[2 : 2+length])
		}
		b = b[2+length:]
	}
	return ""
}
