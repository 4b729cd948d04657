package capability

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// What Drop does is tested with a capture going on, in a process of its own:
// see capture/afpacket.
func TestStructuresHaveTheSizesOfTheKernel(t *testing.T) {
	assert.EqualValues(t, 8, unsafe.Sizeof(header{}), "struct __user_cap_header_struct")
	assert.EqualValues(t, 12, unsafe.Sizeof(data{}), "struct __user_cap_data_struct")
}
