package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls/keylog"
)

func TestAKeyLogIsReadAsItGrows(t *testing.T) {
	store, err := keylog.New(keylog.Config{})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys")
	f := keyLogFile{path: path, store: store}
	defer f.close()
	require.ErrorIs(t, f.read(), os.ErrNotExist, "it may come later")

	secret := func(n int) string {
		return fmt.Sprintf("CLIENT_RANDOM %064x %096x\n", n, n)
	}
	write := func(flags int, text string) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		require.NoError(t, err)
		_, err = file.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.NoError(t, f.read())
	}
	known := func() uint64 { return store.Stats().Secrets }

	write(0, secret(1)+secret(2)[:40])
	assert.EqualValues(t, 1, known(), "half a line is none")
	write(os.O_APPEND, secret(2)[40:])
	assert.EqualValues(t, 2, known())
	write(os.O_TRUNC, secret(3))
	assert.EqualValues(t, 3, known(), "truncated, and written anew")
	require.NoError(t, os.Rename(path, path+".old"))
	write(0, secret(4))
	assert.EqualValues(t, 4, known(), "another file of the name")
	write(os.O_APPEND, strings.Repeat("x", 1<<20))
	assert.LessOrEqual(t, cap(f.rest), 256<<10, "a line without an end is not kept")
	write(os.O_APPEND, "\n"+secret(5))
	assert.EqualValues(t, 5, known())
}
