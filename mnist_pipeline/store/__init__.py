"""Everything durable: objects, versions, channels, memos."""
