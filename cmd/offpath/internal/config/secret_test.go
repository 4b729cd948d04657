package config

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecretsAreReadFromFilesAndVariables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("0123456789abcdef\r\n"), 0o600))
	t.Setenv("OFFPATH_TEST_SECRET", "0123456789abcdef")
	for _, ref := range []string{"file:" + path, "env:OFFPATH_TEST_SECRET"} {
		secret, err := NewSecret(ref)
		require.NoError(t, err)
		key, err := secret.ReadKey()
		require.NoError(t, err)
		assert.Equal(t, "0123456789abcdef", string(key))
	}
}

func TestSecretsThatAreUnusableSayWhy(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return "file:" + path
	}
	for _, test := range []struct{ name, ref, want string }{
		{"a variable that is not set", "env:OFFPATH_TEST_NONE", "environment variable OFFPATH_TEST_NONE is not set"},
		{"a file that is not there", "file:/nowhere/key", "read secret: stat /nowhere/key: no such file or directory"},
		{"an empty file", file("empty", "\n"), "the secret at file:" + folder + "/empty is empty"},
		{"a key that is too short", file("short", "short\n"), "the key at file:" + folder + "/short has 5 octets; it needs 16 or more"},
		{"a file that is too large", file("large", strings.Repeat("x", maxSecret+1)), "read secret: " + folder + "/large has 65537 octets, more than 65536"},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret, err := NewSecret(test.ref)
			require.NoError(t, err)
			_, err = secret.ReadKey()
			assert.EqualError(t, err, test.want)
		})
	}
}

func TestTheSiteKeyIsMadeOnceAndKept(t *testing.T) {
	c := Default()
	c.State.Dir = filepath.Join(t.TempDir(), "state")
	keys := make([]string, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			key, err := c.SiteKey()
			assert.NoError(t, err)
			keys[i] = string(key)
		})
	}
	all.Wait()
	for _, key := range keys {
		assert.Len(t, key, 64)
		assert.Equal(t, keys[0], key)
	}
	info, err := os.Stat(c.keyPath())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(c.State.Dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left behind")
}

func TestTheConfiguredSiteKeyComesFirst(t *testing.T) {
	t.Setenv("OFFPATH_TEST_SECRET", "0123456789abcdef")
	c := Default()
	c.State.Dir = filepath.Join(t.TempDir(), "state")
	c.Hash.Key = Secret{"env:OFFPATH_TEST_SECRET"}
	key, err := c.SiteKey()
	require.NoError(t, err)
	assert.Equal(t, "0123456789abcdef", string(key))
	assert.NoDirExists(t, c.State.Dir)
}
