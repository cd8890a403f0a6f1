
Ú

chat.protochat"]
ChatMessage
sender (	Rsender
message (	Rmessage
	timestamp (R	timestamp2?
ChatService0
Chat.chat.ChatMessage.chat.ChatMessage(0BZduplexmock.test/peers/chatpbbproto3