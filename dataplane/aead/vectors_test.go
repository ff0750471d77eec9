package aead

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// vector is one published result. Every field but source is in hexadecimal;
// sealed is the ciphertext followed by the tag.
type vector struct {
	source                         string
	suite                          Suite
	key, nonce, aad, plain, sealed string
}

// vectors come from
//   - McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B,
//     the test cases with 96-bit nonces ("GCM n");
//   - NIST CAVP, GCM test vectors, gcmEncryptExtIV256.rsp ("CAVP lengths in bits/count");
//   - RFC 8439, section 2.8.2;
//   - C2SP Wycheproof, testvectors_v1/aes_gcm_test.json and
//     chacha20_poly1305_test.json ("Wycheproof tcId").
var vectors = []vector{
	{"GCM 1", AES128GCM, "00000000000000000000000000000000", "000000000000000000000000", "", "",
		"58e2fccefa7e3061367f1d57a4e7455a"},
	{"GCM 2", AES128GCM, "00000000000000000000000000000000", "000000000000000000000000", "", "00000000000000000000000000000000",
		"0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
	{"GCM 3", AES128GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f59854d5c2af327cd64a62cf35abd2ba6fab4"},
	{"GCM 4", AES128GCM, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
	{"GCM 7", aes192GCM, "000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
		"cd33b28ac773f74ba00ed1f312572435"},
	{"GCM 8", aes192GCM, "000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "00000000000000000000000000000000",
		"98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb"},
	{"GCM 10", aes192GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		"3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda27102519498e80f1478f37ba55bd6d27618c"},
	{"GCM 13", AES256GCM, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
		"530f8afbc74536b9a963b4f1c4cb738b"},
	{"GCM 14", AES256GCM, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "00000000000000000000000000000000",
		"cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
	{"GCM 15", AES256GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
	{"GCM 16", AES256GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},

	{"CAVP 0,0/0", AES256GCM, "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4", "516c33929df5a3284ff463d7", "", "",
		"bdc1ac884d332457a1d2664f168c76f0"},
	{"CAVP 0,128/0", AES256GCM, "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223", "d79cf22d504cc793c3fb6c8a", "b96baa8c1c75a671bfb2d08d06be5f36", "",
		"3e5d486aa2e30b22e040b85723a06e76"},
	{"CAVP 0,128/1", AES256GCM, "4457ff33683cca6ca493878bdc00373893a9763412eef8cddb54f91318e0da88", "699d1f29d7b8c55300bb1fd2", "6749daeea367d0e9809e2dc2f309e6e3", "",
		"d60c74d2517fde4a74e0cd4709ed43a9"},
	{"CAVP 128,0/0", AES256GCM, "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22", "0d18e06c7c725ac9e362e1ce", "", "2db5168e932556f8089a0622981d017d",
		"fa4362189661d163fcd6a56d8bf0405ad636ac1bbedd5cc3ee727dc2ab4a9489"},
	{"CAVP 128,0/1", AES256GCM, "460fc864972261c2560e1eb88761ff1c992b982497bd2ac36c04071cbb8e5d99", "8a4a16b9e210eb68bcb6f58d", "", "99e4e926ffe927f691893fb79a96b067",
		"133fc15751621b5f325c7ff71ce08324ec4e87e0cf74a13618d0b68636ba9fa7"},
	{"CAVP 408,160/0", AES256GCM, "24501ad384e473963d476edcfe08205237acfd49b5b8f33857f8114e863fec7f", "9ff18563b978ec281b3f2794", "adb5ec720ccf9898500028bf34afccbcaca126ef",
		"27f348f9cdc0c5bd5e66b1ccb63ad920ff2219d14e8d631b3872265cf117ee86757accb158bd9abb3868fdc0d0b074b5f01b2c",
		"eb7cb754c824e8d96f7c6d9b76c7d26fb874ffbf1d65c6f64a698d839b0b06145dae82057ad55994cf59ad7f67c0fa5e85fab8bc95c532fecc594c36d1550286a7a3f0"},
	{"CAVP 408,720/0", AES256GCM, "148579a3cbca86d5520d66c0ec71ca5f7e41ba78e56dc6eebd566fed547fe691", "b08a5ea1927499c6ecbfd4e0",
		"e4f963f015ffbb99ee3349bbaf7e8e8e6c2a71c230a48f9d59860a29091d2747e01a5ca572347e247d25f56ba7ae8e05cde2be3c97931292c02370208ecd097ef692687fecf2f419d3200162a6480a57dad408a0dfeb492e2c5d",
		"9d0b15fdf1bd595f91f8b3abc0f7dec927dfd4799935a1795d9ce00c9b879434420fe42c275a7cd7b39d638fb81ca52b49dc41",
		"2097e372950a5e9383c675e89eea1c314f999159f5611344b298cda45e62843716f215f82ee663919c64002a5c198d7878fd3fadbecdb0d5c2224d804d2886ff9a5760"},
	{"CAVP 104,0/0", AES256GCM, "82c4f12eeec3b2d3d157b0f992d292b237478d2cecc1d5f161389b97f999057a", "7b40b20f5f397177990ef2d1", "", "982a296ee1cd7086afad976945",
		"ec8e05a0471d6b43a59ca5335f113ddeafc62373cac2f5951bb9165249"},

	{"Wycheproof 2", AES128GCM, "5b9604fe14eadba931b0ccf34843dab9", "921d2507fa8007b7bd067d34", "00112233445566778899aabbccddeeff", "001d0c231287c1182784554ca3a21908",
		"49d8b9783e911913d87094d1f63cc7651e348ba07cca2cf04c618cb4d43a5b92"},
	{"Wycheproof 9", AES128GCM, "c15ed227dd2e237ecd087eaaaad19ea4", "965ff6643116ac1443a2dec7", "", "fee62fde973fe025ad6b322dcdf3c63fc7",
		"0de51fe4f7f2d1f0f917569f5c6d1b009c6cd8521422c0177e83ef1b7a845d97db"},
	{"Wycheproof 14", AES128GCM, "6a68671dfe323d419894381f85eb63fd", "9f0d85b605711f34cd2a35ba", "76eb5f147250fa3c12bff0a6e3934a0b16860cf11646773b", "0fc67899c3f1bbe196d90f1eca3797389230aa37",
		"bd64802cfebaeb487d3a8f76ce943a37b3472dd5fce9a5b530c7d7af718be1ec0ae9ed4d"},
	{"Wycheproof 17", AES128GCM, "97ec85a69a05131cd4ff643972f6d8f9", "9189e0eedcc413a0ba1e63d2", "",
		"10acefa6f3959faecb5cfdaee8aaf09d4381b2b147e0b13450c26ee07f29edaa9a1f1af4e2d111dea7ff681a19fc3a4fd66df6a17985b06543a3b6c0e4e51a54b7",
		"eefdf89997244e065ff19ac2374dc92ee76899ddcbe7c834dcc657242fc0f6dd38272373ba9b549316a36f1522e1cab246157875898c966eec563d57eca5c7d32d23aaa2c6b680fcaaeb2c7a55726d4bc0"},

	{"RFC 8439 2.8.2", ChaCha20Poly1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
		"4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e",
		"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"},
	{"Wycheproof 59", ChaCha20Poly1305, "084b5d7365f1a8fec6365939ed741e6ea5893e0318d82ab47500a97d77aaa041", "829f005e980f0a6e2f983eaa", "770f6e6e89a3fe8e",
		"7510016efadc385a71ed689ceb590c8ea9cc1e81b793338bddf5f10c",
		"fd42cb5cf894f879e3cf751662aaa58a2288cc53548802becaf42359188329438afe1cd7225d0478aa90c773"},
	{"Wycheproof 66", ChaCha20Poly1305, "e1731d5854e1b70cb3ffe8b786a2b3ebf0994370954757b9dc8c7bc5354634a3", "72cfd90ef3026ca22b7e6e6a", "",
		"b9c554cbc36ac18ae897df7beecac1dbeb4eafa156bb60ce2e5d48f05715e678",
		"ea29afa49d36e8760f5fe19723b9811ed5d519934a440f5081ac430b953b0e21222541af46b86533c6b68d2ff108a7ea"},
	{"Wycheproof 69", ChaCha20Poly1305, "573f08ebbe0cce4ac9618e8c3b224bea0a32f055c6996838a32f527ca3c3b695", "ad8050dc6d122dce3e5639ed", "e99698241c599b5f",
		"668d5e3f95fe030daf432a5fc5837af3a79c81e94b28d8204c5ee262ab3c9908a7",
		"eaf6810e6ec1cb7a2918856257d1aa3d51a827879146c6337ecf535e9c89b149c5a2950c2f394a3466c345f796323c1aa7"},
	{"Wycheproof 73", ChaCha20Poly1305, "97d635c4f47574d9998a90875da1d3a284b755b2d39297a5725235190e10a97e", "d31c21aba175b70de4ebb19c", "7193f623663321a2",
		"94ee166d6d6ecf8832437136b4ae805d428864359586d9193a25016293edba443c58e07e7b7195ec5bd84582a9d56c8d4a108c7d7ce34e6c6f8ea1bec0567317",
		"5fbbdecc34be201614f636031eeb42f1cace3c79a12cffd871ee8e73820c829749f1abb4294367849fb6c2aa56bda8a3078f723d7c1c852024b017b58973fb1e09263da7b4cb921452f97dca40f580ec"},
	{"Wycheproof 77", ChaCha20Poly1305, "ce758567bb0bf3a692333e4fa7b6a52e02c6afb4ca04beadb94a4aff207e9bc2", "d1cc1ab3d7d31e478cb4a589", "884fe40045a1893f",
		"03f9bcc27aef21ad1c9f22ca275f294ab582cf9a4878b2a6abec983723621c8b2d4cc97d91f1e96a946a8d25206a9ff0f4f04c5784dc64af5978b7371f12eac6bb47111eede49be44d23355bf0e477d701f3fefb26b67aa95354230f6cee09699252421ab2c3f2e89ecddecc405acd8c177a2aa5b6b2ff2ebff301ee59b5b5",
		"ebdbb8a9613cd78b62ae915f355fdaf50b6967688d25e0757d8988e6145aa557593f0476e70c0c307f0c3878da9d0454e652771ea89fcfa29ac89737ce53942654488dc9311fd6430da3ae7c390ee4f11db6b7a775e4c3759603de64ebc55c755f46476d2289f3f468e60b12cd615137ebbec389b58db53a20c8b708b445ec3d49d49da114603a70034b6437aa565b"},
}

func TestPublishedVectors(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		for _, v := range vectors {
			if v.suite != s {
				continue
			}
			key, aad, plain, sealed := unhex(t, v.key), unhex(t, v.aad), unhex(t, v.plain), unhex(t, v.sealed)
			job := Job{Key: mustKey(t, p, s, key), AAD: aad, Nonce: [12]byte(unhex(t, v.nonce))}
			jobs := []Job{job}
			jobs[0].Buf = append(bytes.Clone(plain), make([]byte, TagSize)...)
			Seal(jobs)
			if !jobs[0].OK || !bytes.Equal(jobs[0].Buf, sealed) {
				t.Errorf("%s: sealed to %x, want %x", v.source, jobs[0].Buf, sealed)
			}
			jobs[0].Buf = bytes.Clone(sealed)
			Open(jobs)
			if !jobs[0].OK || !bytes.Equal(jobs[0].Buf[:len(plain)], plain) {
				t.Errorf("%s: OK %v, opened to %x, want %x", v.source, jobs[0].OK, jobs[0].Buf[:len(plain)], plain)
			}
			// Wycheproof's ModifiedTag, in full: every single bit, and some whole tags.
			for bit := range 8*TagSize + 3 {
				forged := bytes.Clone(sealed)
				tag := forged[len(plain):]
				switch {
				case bit < 8*TagSize:
					tag[bit/8] ^= 1 << (bit % 8)
				case bit == 8*TagSize:
					clear(tag)
				case bit == 8*TagSize+1:
					for i := range tag {
						tag[i] ^= 0xff
					}
				default:
					for i := range tag {
						tag[i] ^= 0x80
					}
				}
				jobs[0].Buf = forged
				Open(jobs)
				if jobs[0].OK {
					t.Errorf("%s: accepted the tag %x", v.source, tag)
				}
				if !bytes.Equal(forged[:len(plain)], make([]byte, len(plain))) {
					t.Errorf("%s: a failed open left %x", v.source, forged[:len(plain)])
				}
			}
		}
	})
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
