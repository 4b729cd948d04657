package netfilter

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestReadingAnElementIsTheInverseOfWritingIt(t *testing.T) {
	for _, e := range []Element{
		{Key: []byte{192, 0, 2, 1}},
		{Key: []byte{192, 0, 2, 1}, Comment: "0123456789abcdef"},
		{Key: make([]byte, 16), End: true},
	} {
		assert.Equal(t, e, decode(e.encode()))
	}
	// The kernel says how long is left, not what was set.
	timed := Element{Key: []byte{1, 2, 3, 4}, Left: time.Minute}
	assert.Equal(t, time.Duration(0), decode(timed.encode()).Left)
	assert.Equal(t, time.Minute, decode(attributes(nil).uint64(unix.NFTA_SET_ELEM_EXPIRATION, 60000)).Left)
}

func TestTheChainOfARuleIsThatOfItsJump(t *testing.T) {
	rule := func(of ...Expression) (list attributes) {
		for _, e := range of {
			list = list.nested(unix.NFTA_LIST_ELEM, attributes(nil).text(unix.NFTA_EXPR_NAME, e.name).nested(unix.NFTA_EXPR_DATA, e.data))
		}
		return list
	}
	assert.Equal(t, "enforce", jump(rule(Transport(), Equal(6), In("ports"), Jump("enforce"))))
	assert.Empty(t, jump(rule(Transport(), Equal(6), Goto("enforce"))))
	assert.Empty(t, jump(rule(Return())))
	assert.Empty(t, jump(nil))
}

func TestManyElementsAreCutIntoMessagesBelowTheLimitOfAnAttribute(t *testing.T) {
	list := make([]Element, 1201)
	for i := range list {
		list[i] = Element{Key: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i)), Comment: "0123456789abcdef", Left: time.Hour}
	}
	b := new(Batch)
	b.AddElements("offpath", "refuse_ipv6_128", list)
	var sizes []int
	for _, m := range b.messages {
		assert.Less(t, len(m.attributes), 1<<16)
		n := 0
		for range each(find(m.attributes, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			n++
		}
		sizes = append(sizes, n)
	}
	assert.Equal(t, []int{500, 500, 201}, sizes)
}

// FuzzReply reads what pretends to be an answer of the kernel.
func FuzzReply(f *testing.F) {
	e := Element{Key: []byte{192, 0, 2, 1}, Comment: "0123456789abcdef", Left: time.Hour}
	list := attributes(nil).nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, attributes(nil).nested(unix.NFTA_LIST_ELEM, e.encode()))
	f.Add(appendMessage(nil, messageType(unix.NFT_MSG_NEWSETELEM), 0, 1, unix.NFPROTO_INET, 0, list))
	f.Add(appendMessage(nil, unix.NLMSG_ERROR, 0, 1, 0, 0, nil))
	f.Add([]byte{16, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, r := range replies(b) {
			total += len(r.body)
			_ = r.errno()
			if len(r.body) < 4 {
				continue
			}
			_ = jump(find(r.body[4:], unix.NFTA_RULE_EXPRESSIONS))
			keys := 0
			for _, e := range each(find(r.body[4:], unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				got := decode(e)
				keys += len(got.Key)
				assert.GreaterOrEqual(t, got.Left, time.Duration(0))
				assert.LessOrEqual(t, len(got.Comment), 255)
			}
			assert.LessOrEqual(t, keys, len(r.body))
		}
		assert.LessOrEqual(t, total, len(b))
	})
}
