package snapshot

// Version is that of the format: of what all descriptions together write. It
// is raised whenever one of them changes; detect/engine has a test that notices.
const Version = 11
