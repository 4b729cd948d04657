package message_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/message"
)

// named makes fields of names.
func named(names ...string) []message.Field {
	var fields []message.Field
	for _, name := range names {
		fields = append(fields, message.Field{Name: []byte(name), Value: []byte("v")})
	}
	return fields
}

func TestAShapeIsRemembered(t *testing.T) {
	shapes := message.NewShapes(func(name []byte) uint8 { return uint8(bytes.Count(name, []byte("Host"))) })
	s := shapes.Find(named("A", "Host", "Long-Name"))
	require.NotNil(t, s)
	assert.Equal(t, "A:Host:Long-Name:", string(s.Names))
	assert.Equal(t, []uint8{2, 5, 10}, s.Sizes)
	assert.Equal(t, []message.Mark{{Index: 1, Kind: 1}}, s.Marked)
	assert.Same(t, s, shapes.At(s.Slot))
	assert.Same(t, s, shapes.Find(named("A", "Host", "Long-Name")))
}

func TestAFloodOfShapesDisplacesNoneThatComesAgain(t *testing.T) {
	shapes := message.NewShapes(nil)
	s := shapes.Find(named("Host", "Accept"))
	for i := range 100 * message.ShapeSlots {
		shapes.Find(named("X-", fmt.Sprint(i)))
		if i%message.ShapeSlots == 0 {
			require.Same(t, s, shapes.Find(named("Host", "Accept")))
		}
	}
}

func TestShapesAreToldApart(t *testing.T) {
	shapes := message.NewShapes(nil)
	lists := [][]message.Field{
		named(), named("A"), named("a"), named("A", "B"), named("B", "A"), named("A:B"), named(":path", "A"), named("", "path", "A"), named("A", "A", "B"),
	}
	for _, list := range lists {
		shapes.Find(list)
		s := shapes.Find(list)
		require.NotNil(t, s)
		require.Len(t, s.Sizes, len(list))
		for i, size := range s.Sizes {
			require.Equal(t, len(list[i].Name)+1, int(size))
		}
	}
}

func TestShapesTakeTurns(t *testing.T) {
	shapes := message.NewShapes(nil)
	const programs = 4 // as many as one place holds
	known := 0
	for range 3 {
		known = 0
		for i := range programs {
			if shapes.Find(named("Host", fmt.Sprint("X-", i))) != nil {
				known++
			}
		}
	}
	require.Equal(t, programs, known)
}

func TestWhatIsTooLargeHasNoShape(t *testing.T) {
	shapes := message.NewShapes(nil)
	many := named(strings.Split(strings.Repeat("x,", 255), ",")...)
	for name, list := range map[string][]message.Field{
		"too many fields":         many,
		"a name of 255 octets":    named(strings.Repeat("n", 255)),
		"names of 2 KiB together": named(strings.Split(strings.Repeat(strings.Repeat("y", 200)+",", 12), ",")...),
	} {
		for range 3 {
			assert.Nil(t, shapes.Find(list), name)
		}
	}
}

func TestAShapeThatComesAgainCostsNoAllocation(t *testing.T) {
	shapes := message.NewShapes(nil)
	list := named("Host", "User-Agent", "Accept")
	shapes.Find(list)
	shapes.Find(list)
	assert.Zero(t, testing.AllocsPerRun(100, func() { shapes.Find(list) }))
}
