BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'ablation-toy-quick-95098693');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'artifacts:ceaaab82-0145-4070-9f4f-0feb55daa571','"{\"artifact_id\": \"ceaaab82-0145-4070-9f4f-0feb55daa571\", \"filename\": \"queries.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(2,1,'study:metric_names','["validation MRR"]');
INSERT INTO "study_system_attributes" VALUES(3,1,'dashboard:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(4,1,'dashboard:note_str:0','"# What each distillation loss adds\n\nThe student is trained without distillation, with the structural teacher alone (L1), with the language model''s scores (L2) or encodings (L3) in addition, and with all three. All arms of a seed share initialisation, batches and the number of updates; the distilled ones share stage 1. Both teachers are reference rows.\n\n- data: `toy`, 60 training facts, 10 validation facts, 10 test facts, 12 entities, 3 relations\n- claims tested: C2, C6\n- preset: `quick`, one seed, short training, a sentence encoder as language model; minutes\n- arms: `none`, `L1`, `L1+L2`, `L1+L3`, `L1+L2+L3`\n- reference rows: `teacher`, `llm-teacher`\n\nThe value of a trial is its validation MRR. Its attribute `label` is the name that reports have for it, `test_mrr` and\nthe like are its metrics on test facts, `reason` says why it failed. Its artifacts are the ranks of all test queries\n(`ranks.parquet`), the learning curve (`curve.csv`) and metrics by relation (`relations.csv`). Teachers are marked as\ninfeasible, so that the history''s line is that of the students; the dashboard''s card of the best trial counts them all.\n\nIts report: `python -m harness.report ablation --dataset toy --storage URL`\n"');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'study','"ablation"');
INSERT INTO "study_user_attributes" VALUES(2,1,'dataset','"toy"');
INSERT INTO "study_user_attributes" VALUES(3,1,'preset','"quick"');
INSERT INTO "study_user_attributes" VALUES(4,1,'claims','["C2", "C6"]');
INSERT INTO "study_user_attributes" VALUES(5,1,'command','"python -m harness.study ablation --dataset toy --arms none,L1 --preset quick --seeds 1 --set student.epochs=2 --set student.stage1_epochs=1 --set teacher.epochs=1 --set teacher.dim=8 --jobs 1"');
INSERT INTO "study_user_attributes" VALUES(6,1,'data','{"training facts": 60, "validation facts": 10, "test facts": 10, "entities": 12, "relations": 3}');
INSERT INTO "study_user_attributes" VALUES(7,1,'schema','1');
INSERT INTO "study_user_attributes" VALUES(8,1,'engine','"b470ef9cfaf02b2ee4e9d5b8"');
INSERT INTO "study_user_attributes" VALUES(9,1,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "study_user_attributes" VALUES(10,1,'queries','"ceaaab82-0145-4070-9f4f-0feb55daa571"');
INSERT INTO "study_user_attributes" VALUES(11,1,'note','"2341981f6ff29f1241fa8997"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,2.50337301587301552796e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,2.30418470418470466842e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,2.80418470418470400229e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,2.597817460317460303e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'arm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(2,1,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(3,1,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(4,1,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
INSERT INTO "trial_params" VALUES(5,2,'arm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(6,2,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(7,2,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(8,2,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
INSERT INTO "trial_params" VALUES(9,2,'stage1_epochs',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 10000}}');
INSERT INTO "trial_params" VALUES(10,2,'hard_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(11,2,'temperature',7.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(12,2,'soft_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:0a5313f2-a8fb-4921-bc5a-1318ab03c332','"{\"artifact_id\": \"0a5313f2-a8fb-4921-bc5a-1318ab03c332\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,1,'artifacts:5965bc98-e954-4cf4-85b1-a771eaa32343','"{\"artifact_id\": \"5965bc98-e954-4cf4-85b1-a771eaa32343\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(3,1,'artifacts:14ae4d10-7151-492c-b8d7-17b5a7e46530','"{\"artifact_id\": \"14ae4d10-7151-492c-b8d7-17b5a7e46530\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(4,2,'artifacts:2c6dedd9-27d1-4570-8a7f-675007d166f5','"{\"artifact_id\": \"2c6dedd9-27d1-4570-8a7f-675007d166f5\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(5,2,'artifacts:b7515d12-6e60-4d51-b405-d88538aefb91','"{\"artifact_id\": \"b7515d12-6e60-4d51-b405-d88538aefb91\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(6,2,'artifacts:6ec7b415-c865-465c-afca-0cdd0ffab152','"{\"artifact_id\": \"6ec7b415-c865-465c-afca-0cdd0ffab152\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'cell','"635611a1110f546cb53b"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"none\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":400,\"norm\":\"l2\",\"epochs\":12,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'harness','"0.1.0"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'git_commit','"ddced59b1b78e696244e2e0f9329bd0cff7b52cc"');
INSERT INTO "trial_user_attributes" VALUES(5,1,'git_dirty','false');
INSERT INTO "trial_user_attributes" VALUES(6,1,'python','"3.11.7"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'torch','"2.13.0+cpu"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'transformers','"5.24.0"');
INSERT INTO "trial_user_attributes" VALUES(9,1,'peft','"0.21.2"');
INSERT INTO "trial_user_attributes" VALUES(10,1,'optuna','"5.0.0"');
INSERT INTO "trial_user_attributes" VALUES(11,1,'numpy','"2.4.6"');
INSERT INTO "trial_user_attributes" VALUES(12,1,'numba','"0.68.1"');
INSERT INTO "trial_user_attributes" VALUES(13,1,'machine','"Linux x86_64, AMD EPYC, 2 cores, 24 GiB"');
INSERT INTO "trial_user_attributes" VALUES(14,1,'threads','1');
INSERT INTO "trial_user_attributes" VALUES(15,1,'stack','1');
INSERT INTO "trial_user_attributes" VALUES(16,1,'started','"2026-11-26T07:53:13+00:00"');
INSERT INTO "trial_user_attributes" VALUES(17,1,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(18,1,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(19,1,'label','"none"');
INSERT INTO "trial_user_attributes" VALUES(20,1,'valid_mrr','0.23041847041847047');
INSERT INTO "trial_user_attributes" VALUES(21,1,'valid_mr','6.5');
INSERT INTO "trial_user_attributes" VALUES(22,1,'valid_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(23,1,'valid_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(24,1,'valid_hits10','0.95');
INSERT INTO "trial_user_attributes" VALUES(25,1,'valid_tail_mrr','0.25877344877344877');
INSERT INTO "trial_user_attributes" VALUES(26,1,'valid_tail_mr','6.7');
INSERT INTO "trial_user_attributes" VALUES(27,1,'valid_tail_hits1','0.1');
INSERT INTO "trial_user_attributes" VALUES(28,1,'valid_tail_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(29,1,'valid_tail_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(30,1,'valid_head_mrr','0.20206349206349206');
INSERT INTO "trial_user_attributes" VALUES(31,1,'valid_head_mr','6.3');
INSERT INTO "trial_user_attributes" VALUES(32,1,'valid_head_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(33,1,'valid_head_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(34,1,'valid_head_hits10','1.0');
INSERT INTO "trial_user_attributes" VALUES(35,1,'test_mrr','0.16420995670995672');
INSERT INTO "trial_user_attributes" VALUES(36,1,'test_mr','7.45');
INSERT INTO "trial_user_attributes" VALUES(37,1,'test_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(38,1,'test_hits3','0.15');
INSERT INTO "trial_user_attributes" VALUES(39,1,'test_hits10','0.85');
INSERT INTO "trial_user_attributes" VALUES(40,1,'test_tail_mrr','0.15226551226551227');
INSERT INTO "trial_user_attributes" VALUES(41,1,'test_tail_mr','8.0');
INSERT INTO "trial_user_attributes" VALUES(42,1,'test_tail_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(43,1,'test_tail_hits3','0.1');
INSERT INTO "trial_user_attributes" VALUES(44,1,'test_tail_hits10','0.8');
INSERT INTO "trial_user_attributes" VALUES(45,1,'test_head_mrr','0.17615440115440115');
INSERT INTO "trial_user_attributes" VALUES(46,1,'test_head_mr','6.9');
INSERT INTO "trial_user_attributes" VALUES(47,1,'test_head_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(48,1,'test_head_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(49,1,'test_head_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(50,1,'seconds_data','0.0');
INSERT INTO "trial_user_attributes" VALUES(51,1,'seconds_stage2','0.015');
INSERT INTO "trial_user_attributes" VALUES(52,1,'seconds_evaluate','0.002');
INSERT INTO "trial_user_attributes" VALUES(53,1,'built_seconds_stage1','0.005');
INSERT INTO "trial_user_attributes" VALUES(54,1,'peak_mib_stage2','396.926');
INSERT INTO "trial_user_attributes" VALUES(55,1,'peak_mib_evaluate','396.926');
INSERT INTO "trial_user_attributes" VALUES(56,1,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "trial_user_attributes" VALUES(57,1,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(58,1,'best_epoch','2');
INSERT INTO "trial_user_attributes" VALUES(59,2,'cell','"de2d0472e0095d0845eb"');
INSERT INTO "trial_user_attributes" VALUES(60,2,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"L1\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":8,\"norm\":\"l2\",\"epochs\":1,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(61,2,'harness','"0.1.0"');
INSERT INTO "trial_user_attributes" VALUES(62,2,'git_commit','"ddced59b1b78e696244e2e0f9329bd0cff7b52cc"');
INSERT INTO "trial_user_attributes" VALUES(63,2,'git_dirty','false');
INSERT INTO "trial_user_attributes" VALUES(64,2,'python','"3.11.7"');
INSERT INTO "trial_user_attributes" VALUES(65,2,'torch','"2.13.0+cpu"');
INSERT INTO "trial_user_attributes" VALUES(66,2,'transformers','"5.24.0"');
INSERT INTO "trial_user_attributes" VALUES(67,2,'peft','"0.21.2"');
INSERT INTO "trial_user_attributes" VALUES(68,2,'optuna','"5.0.0"');
INSERT INTO "trial_user_attributes" VALUES(69,2,'numpy','"2.4.6"');
INSERT INTO "trial_user_attributes" VALUES(70,2,'numba','"0.68.1"');
INSERT INTO "trial_user_attributes" VALUES(71,2,'machine','"Linux x86_64, AMD EPYC, 2 cores, 24 GiB"');
INSERT INTO "trial_user_attributes" VALUES(72,2,'threads','1');
INSERT INTO "trial_user_attributes" VALUES(73,2,'stack','1');
INSERT INTO "trial_user_attributes" VALUES(74,2,'started','"2026-11-26T07:53:13+00:00"');
INSERT INTO "trial_user_attributes" VALUES(75,2,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(76,2,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(77,2,'label','"L1"');
INSERT INTO "trial_user_attributes" VALUES(78,2,'valid_mrr','0.25978174603174603');
INSERT INTO "trial_user_attributes" VALUES(79,2,'valid_mr','6.15');
INSERT INTO "trial_user_attributes" VALUES(80,2,'valid_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(81,2,'valid_hits3','0.4');
INSERT INTO "trial_user_attributes" VALUES(82,2,'valid_hits10','0.85');
INSERT INTO "trial_user_attributes" VALUES(83,2,'valid_tail_mrr','0.21027777777777779');
INSERT INTO "trial_user_attributes" VALUES(84,2,'valid_tail_mr','6.4');
INSERT INTO "trial_user_attributes" VALUES(85,2,'valid_tail_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(86,2,'valid_tail_hits3','0.4');
INSERT INTO "trial_user_attributes" VALUES(87,2,'valid_tail_hits10','0.8');
INSERT INTO "trial_user_attributes" VALUES(88,2,'valid_head_mrr','0.3092857142857143');
INSERT INTO "trial_user_attributes" VALUES(89,2,'valid_head_mr','5.9');
INSERT INTO "trial_user_attributes" VALUES(90,2,'valid_head_hits1','0.1');
INSERT INTO "trial_user_attributes" VALUES(91,2,'valid_head_hits3','0.4');
INSERT INTO "trial_user_attributes" VALUES(92,2,'valid_head_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(93,2,'test_mrr','0.2227200577200578');
INSERT INTO "trial_user_attributes" VALUES(94,2,'test_mr','6.5');
INSERT INTO "trial_user_attributes" VALUES(95,2,'test_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(96,2,'test_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(97,2,'test_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(98,2,'test_tail_mrr','0.27845238095238095');
INSERT INTO "trial_user_attributes" VALUES(99,2,'test_tail_mr','5.8');
INSERT INTO "trial_user_attributes" VALUES(100,2,'test_tail_hits1','0.1');
INSERT INTO "trial_user_attributes" VALUES(101,2,'test_tail_hits3','0.3');
INSERT INTO "trial_user_attributes" VALUES(102,2,'test_tail_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(103,2,'test_head_mrr','0.16698773448773446');
INSERT INTO "trial_user_attributes" VALUES(104,2,'test_head_mr','7.2');
INSERT INTO "trial_user_attributes" VALUES(105,2,'test_head_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(106,2,'test_head_hits3','0.1');
INSERT INTO "trial_user_attributes" VALUES(107,2,'test_head_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(108,2,'seconds_data','0.0');
INSERT INTO "trial_user_attributes" VALUES(109,2,'seconds_stage2','0.014');
INSERT INTO "trial_user_attributes" VALUES(110,2,'seconds_evaluate','0.002');
INSERT INTO "trial_user_attributes" VALUES(111,2,'built_seconds_teacher','1.831');
INSERT INTO "trial_user_attributes" VALUES(112,2,'built_seconds_targets','0.007');
INSERT INTO "trial_user_attributes" VALUES(113,2,'built_seconds_teacher-vectors','0.002');
INSERT INTO "trial_user_attributes" VALUES(114,2,'built_seconds_stage1','0.011');
INSERT INTO "trial_user_attributes" VALUES(115,2,'peak_mib_stage2','396.949');
INSERT INTO "trial_user_attributes" VALUES(116,2,'peak_mib_evaluate','396.949');
INSERT INTO "trial_user_attributes" VALUES(117,2,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "trial_user_attributes" VALUES(118,2,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(119,2,'best_epoch','2');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.30418470418470466842e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,2.597817460317460303e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 07:53:13.071902','2026-11-26 07:53:13.259726');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 07:53:13.267828','2026-11-26 07:53:13.363547');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
