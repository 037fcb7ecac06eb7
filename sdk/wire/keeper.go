package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// What a keeper takes under one name, and how many names of a subsystem.
const (
	MaxKeptName  = 200      // bytes
	MaxKeptData  = 64 << 10 // bytes
	MaxKeptFiles = 16
	MaxKeptNames = 4096
)

// KeeperKind says what a KeeperMessage means.
type KeeperKind uint8

// What a plugin asks for. Each request gets one answer, in order.
const (
	// KeeperKeep keeps Data and Files under Name, in place of what was there.
	KeeperKeep KeeperKind = 1 + iota
	// KeeperKeepData keeps Data under Name; the files there stay.
	KeeperKeepData
	// KeeperForget closes what is kept under Name, if anything is.
	KeeperForget
	// KeeperNext asks for the first entry whose name is greater than Name.
	KeeperNext
	// KeeperExit asks how the process ended whose pidfd is kept under Name.
	// Data is empty or that of a KeeperRunning: then it is this very process.
	KeeperExit
)

// What the host answers.
const (
	// KeeperDone is yes to KeeperKeep, KeeperKeepData and KeeperForget.
	KeeperDone KeeperKind = 65 + iota
	// KeeperRefused is no; Data says why.
	KeeperRefused
	// KeeperEntry has Name, Data and Files of an entry.
	KeeperEntry
	// KeeperEnd says that there is no further entry.
	KeeperEnd
	// KeeperRunning says that how the process ended is not known yet. Data
	// tells it from others under the same name; the file is its pidfd.
	KeeperRunning
	// KeeperExited has a KeptExit as Data.
	KeeperExited
)

// KeeperMessage is one packet between a plugin and the host's keeper:
//
//	byte 0      kind
//	byte 1      0
//	bytes 2–3   length of the name, big endian
//	bytes 4–7   id, big endian: an answer has that of its request
//	bytes 8–    name, then data
//
// The files travel beside it (SCM_RIGHTS).
type KeeperMessage struct {
	Kind  KeeperKind
	ID    uint32
	Name  string
	Data  []byte
	Files []int // descriptors; of a received message, to be closed by the receiver
	// FilesLost is true in a received message some of whose files this process
	// had no room for.
	FilesLost bool
}

const (
	keeperHeader     = 8
	maxKeeperMessage = keeperHeader + MaxKeptName + MaxKeptData
)

// AppendKeeperMessage appends the packet of m to b. A name has at most 65,535
// bytes.
func AppendKeeperMessage(b []byte, m KeeperMessage) []byte {
	b = append(b, byte(m.Kind), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Name))) //nolint:gosec // G115: the doc says so
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = append(b, m.Name...)
	return append(b, m.Data...)
}

// DecodeKeeperMessage is the reverse, but for the files. Data is a part of b.
func DecodeKeeperMessage(b []byte) (KeeperMessage, error) {
	if len(b) < keeperHeader {
		return KeeperMessage{}, fmt.Errorf("wire: keeper message of %d bytes, want at least %d", len(b), keeperHeader)
	}
	name := int(binary.BigEndian.Uint16(b[2:]))
	if b[1] != 0 || len(b) < keeperHeader+name {
		return KeeperMessage{}, fmt.Errorf("wire: keeper message of %d bytes does not have a name of %d", len(b), name)
	}
	return KeeperMessage{
		Kind: KeeperKind(b[0]),
		ID:   binary.BigEndian.Uint32(b[4:]),
		Name: string(b[keeperHeader : keeperHeader+name]),
		Data: b[keeperHeader+name:],
	}, nil
}

// CheckKept reports which bound of one name is not kept to.
func CheckKept(name string, data []byte, files int) error {
	switch {
	case name == "":
		return errors.New("no name to keep anything under")
	case len(name) > MaxKeptName:
		return fmt.Errorf("a name of %d bytes, limit %d", len(name), MaxKeptName)
	case len(data) > MaxKeptData:
		return fmt.Errorf("data of %d bytes, limit %d", len(data), MaxKeptData)
	case files > MaxKeptFiles:
		return fmt.Errorf("%d files under one name, limit %d", files, MaxKeptFiles)
	}
	return nil
}

// KeptExit is how a kept process ended.
type KeptExit struct {
	Status syscall.WaitStatus
	At     time.Time // when the host saw it
}

// AppendKeptExit appends e: the status as 4 bytes and the time as 8 bytes of
// nanoseconds since 1970, both big endian.
func AppendKeptExit(b []byte, e KeptExit) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(e.Status))
	return binary.BigEndian.AppendUint64(b, uint64(e.At.UnixNano()))
}

// DecodeKeptExit is the reverse.
func DecodeKeptExit(b []byte) (KeptExit, error) {
	if len(b) != 12 {
		return KeptExit{}, fmt.Errorf("wire: exit of %d bytes, want 12", len(b))
	}
	return KeptExit{
		Status: syscall.WaitStatus(binary.BigEndian.Uint32(b)),
		At:     time.Unix(0, int64(binary.BigEndian.Uint64(b[4:]))), //nolint:gosec // G115: bits
	}, nil
}
