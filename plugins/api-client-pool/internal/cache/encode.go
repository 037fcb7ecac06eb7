package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
)

// magic begins a file. Its number is raised when entry changes.
const magic = "gaia response 1\n"

var errTorn = errors.New("not a whole entry")

// encode writes magic, e as gob, and the CRC-32C of both.
func encode(e *entry) ([]byte, error) {
	var file bytes.Buffer
	file.Grow(len(e.Body) + 2<<10)
	file.WriteString(magic)
	if err := gob.NewEncoder(&file).Encode(e); err != nil {
		return nil, fmt.Errorf("internal: encode a response: %w", err)
	}
	return binary.BigEndian.AppendUint32(file.Bytes(), checksum(file.Bytes())), nil
}

// decode reads what encode has written, and nothing that is not whole.
func decode(file []byte) (*entry, error) {
	end := len(file) - crc32.Size
	if end < len(magic) || string(file[:len(magic)]) != magic || binary.BigEndian.Uint32(file[end:]) != checksum(file[:end]) {
		return nil, errTorn
	}
	e := new(entry)
	if err := gob.NewDecoder(bytes.NewReader(file[len(magic):end])).Decode(e); err != nil {
		return nil, fmt.Errorf("decode a response: %w", err)
	}
	e.terms = termsOf(e.Status, e.Header, e.Requested, e.Received)
	return e, nil
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }
